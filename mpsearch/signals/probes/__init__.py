"""How signals look into a network: hooks, replays, paths."""
