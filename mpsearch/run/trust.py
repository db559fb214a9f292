"""Which run directories this user of this machine has made: only their studies may name code that is run without being asked for."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from mpsearch.core.files import write_text
from mpsearch.data import cache_directory

__all__ = ["made_here", "remember"]


def remember(directory: Path, study: str) -> None:
    """Note outside the run directory, where a downloaded folder cannot bring it along, that this user made it.

    Args:
        directory: run directory.
        study: text of its `study.yaml`.
    """
    with suppress(OSError):  # without a note, `mpsearch evaluate` asks for --trust
        write_text(_note(directory), _digest(study))


def made_here(directory: Path, study: str) -> bool:
    """Whether this user made the directory with this very study."""
    with suppress(OSError, UnicodeDecodeError):
        return _note(directory).read_text(encoding="utf-8") == _digest(study)
    return False


def _note(directory: Path) -> Path:
    return cache_directory() / "runs" / _digest(str(directory.resolve()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
