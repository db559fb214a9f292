"""`python -m mpsearch`: the command line without its installed script."""

from __future__ import annotations

import sys

from mpsearch.cli import script

if __name__ == "__main__":
    sys.exit(script())
