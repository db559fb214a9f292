"""The pictures of README and docs/, drawn by Matplotlib from committed results: `python -m benchmarks.pictures`."""
