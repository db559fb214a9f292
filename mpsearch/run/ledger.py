"""`Ledger`: the results of a run, one file each, which are read back instead of computed again."""

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

    Each file belongs to one stage. A stage that is called again in the same directory reads its result; later stages get the result as an
    argument and do not read the file.

    Args:
        directory: run directory, which exists.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock(directory)

    def path(self, name: str) -> Path:
        """Path of a file of the run."""
        return self.directory / name

    def read(self, name: str, load: Callable[[Any], T]) -> T | None:
        """The result in a JSON file; None if there is no file.

        Args:
            name: file name.
            load: plain data → result.
        """
        file = self.path(name)
        return load(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def write(self, name: str, plain: Any) -> None:
        """Write plain data to a JSON file, atomically."""
        write_text(self.path(name), json.dumps(plain))

    def once(self, name: str, compute: Callable[[], T], *, dump: Callable[[T], Any], load: Callable[[Any], T]) -> T:
        """The result in a JSON file; computed and written if there is no file.

        A new result is also read back, so that the run continues with the same data as after an interruption.

        Args:
            name: file name.
            compute: returns the result.
            dump: result → plain data.
            load: its inverse.
        """
        if not self.path(name).exists():
            self.write(name, dump(compute()))
        return load(json.loads(self.path(name).read_text(encoding="utf-8")))
