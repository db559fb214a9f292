"""The cache directory: for files that can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """`$MPSEARCH_CACHE`, else `$XDG_CACHE_HOME/mpsearch`, else `~/.cache/mpsearch`; the directory may not exist yet."""
    if own := os.environ.get("MPSEARCH_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "mpsearch"
