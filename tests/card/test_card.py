"""The table in the room's docstring names every file."""

from __future__ import annotations

from pathlib import Path

import mpsearch.card


def test_every_file_has_its_place() -> None:
    text = str(mpsearch.card.__doc__)
    for file in Path(str(mpsearch.card.__file__)).parent.glob("*.py"):
        assert file.stem == "__init__" or f"`{file.stem}`" in text, f"{file.name} is not in the table"
