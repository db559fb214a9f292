"""The scripts of `benchmarks/` import each other by file name, as they do when run; a source distribution comes without them."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

collect_ignore_glob = [] if BENCHMARKS.is_dir() else ["test_*.py"]
if BENCHMARKS.is_dir() and str(BENCHMARKS) not in sys.path:
    sys.path.append(str(BENCHMARKS))
