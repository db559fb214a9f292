"""Tools of the signals: hooks, replays and quantization paths."""
