"""`Ledger`: the results of a run, one file each. What a file holds is read back instead of computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mpsearch.core.files import write_text
from mpsearch.run.clock import Clock

__all__ = ["Ledger"]

T = TypeVar("T")


class Ledger:
    """The files of a run directory, and the clock of the run.

    A stage writes its result when it is whole, and each file belongs to one stage. A stage that is called again in the same directory finds
    its result there; the next stage gets the result as an argument and never looks for the file.

    Args:
        directory: of the run; it exists.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock(directory)

    def path(self, name: str) -> Path:
        """Where a file of the run lies."""
        return self.directory / name

    def read(self, name: str, load: Callable[[Any], T]) -> T | None:
        """The result in a JSON file; None if it is not there yet.

        Args:
            name: of the file.
            load: plain data → result.
        """
        file = self.path(name)
        return load(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def write(self, name: str, plain: Any) -> None:
        """Write plain data to a JSON file, atomically."""
        write_text(self.path(name), json.dumps(plain))

    def once(self, name: str, compute: Callable[[], T], *, dump: Callable[[T], Any], load: Callable[[Any], T]) -> T:
        """The result in a JSON file, computed if it is not there yet.

        A fresh result is read back, too, so that the run goes on with the very data it would go on with after an interruption.

        Args:
            name: of the file.
            compute: gives the result.
            dump: result → plain data.
            load: its inverse.
        """
        if not self.path(name).exists():
            self.write(name, dump(compute()))
        return load(json.loads(self.path(name).read_text(encoding="utf-8")))
