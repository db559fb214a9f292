"""Results of long benchmarks: one JSON object a line, added as soon as it is there, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["Row", "append", "known", "latest", "read"]

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """All whole lines of the file; a line that a killed process left unfinished is passed over. No file: no rows."""
    rows: list[Row] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append(path: Path, row: Row) -> None:
    """Add a line in one write, so that two processes may share the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    broken = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, (("\n" if broken else "") + json.dumps(row) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def known(rows: Iterable[Row], key: Iterable[str]) -> set[Hashable]:
    """What the rows say about the fields of `key`, as tuples."""
    fields = tuple(key)
    return {tuple(row.get(field) for field in fields) for row in rows}


def latest(rows: Iterable[Row], key: Iterable[str]) -> list[Row]:
    """Of rows that agree in the fields of `key` the last one, so that what was measured again replaces what it was before."""
    fields = tuple(key)
    return list({tuple(row.get(field) for field in fields): row for row in rows}.values())
