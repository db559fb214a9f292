"""Trained networks as their packages ship them, used unmodified and made smaller: `python -m benchmarks.zoo`."""

import sys
from pathlib import Path

_SCRIPTS = str(Path(__file__).parents[1])
if _SCRIPTS not in sys.path:
    sys.path.append(_SCRIPTS)  # the results of long benchmarks are kept by a file among the scripts, which import it by its name
