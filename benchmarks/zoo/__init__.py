"""Trained networks as their packages ship them, used unmodified and made smaller: `python -m benchmarks.zoo`."""
