"""`Run`: one search on one network under one budget, and the file of lines that runs are kept in as they finish."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mpsearch.core.files import write_text

__all__ = ["Run", "add_run", "drop_runs", "read_runs"]


@dataclass(frozen=True)
class Run:
    """One finished run: flat table positions of its trials, −1 where nothing was found, and the processor seconds it took."""

    network: str
    budget: str
    entry: str
    seed: int
    trials: tuple[int, ...]
    seconds: float


def read_runs(file: Path) -> list[Run]:
    """Whole lines; one that a kill has cut short is dropped."""
    runs = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            stored = json.loads(line)
        except ValueError:
            continue
        runs.append(Run(**{**stored, "trials": tuple(stored["trials"])}))
    return runs


def add_run(file: Path, run: Run) -> None:
    """Append a line; what a kill has cut short stays a line of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.read_bytes() if file.exists() else b""
    torn = bool(written) and not written.endswith(b"\n")
    with file.open("a") as stream:
        stream.write("\n" * torn + json.dumps(asdict(run)) + "\n")


def drop_runs(file: Path, entries: Sequence[str]) -> None:
    """Forget the runs of entries whose names begin so."""
    kept = [run for run in read_runs(file) if not run.entry.startswith(tuple(entries))]
    write_text(file, "".join(json.dumps(asdict(run)) + "\n" for run in kept))
