"""The run directory: whose it is, atomic writes, seconds and passes by phase."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mpsearch.core.errors import ConfigError, RunDirectoryError, UnknownNameError, UsageError
from mpsearch.core.files import write_text
from mpsearch.core.pass_counts import PassCounts, active_counts, phase

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["ARTIFACT", "BITS", "CARD", "CARD_FIELDS", "Clock", "claimed"]

ARTIFACT = "model.safetensors"
BITS = "bits.yaml"
CARD = "card.md"
CARD_FIELDS = "card.json"
_TALLY = "tally.json"
_LOCK = ".lock"
"""Held while a process works in the directory; a killed one holds nothing."""


class Clock:
    """Wall seconds by phase, summed over interruptions and kept in `seconds.json`; beside it in `tally.json` what was counted."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._tally = active_counts()
        if self._tally is not None:  # a request that was refused before has left nothing behind
            self._tally.save = lambda tally: write_text(directory / _TALLY, json.dumps(tally.to_dict()))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds, passes and labels of the `with` for phase `name`."""
        started = time.monotonic()
        try:
            with phase(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
            write_text(self._file, json.dumps(self.seconds))
            if self._tally is not None:
                self._tally.keep()


@contextmanager
def claimed(directory: Path, config: StudyConfig, command: str, extra: str = "") -> Iterator[None]:
    """The run directory, made or checked to hold the same study; a request that cannot be met leaves no fresh one behind.

    One process at a time works in it.

    Raises:
        RunDirectoryError: it holds another study, or something else altogether, or another process is at work there.
    """
    identity = f"{config.fingerprint()}{extra}"
    file = directory / "run.json"
    if file.exists():
        held = json.loads(file.read_text())
        if held["fingerprint"] != identity:
            raise RunDirectoryError(
                f"{directory} holds another study ('{held['command']}'); give another --run-dir, or delete that folder to start afresh"
            )
    elif directory.exists() and any(not entry.name.startswith((".run.json.", _LOCK)) for entry in directory.iterdir()):
        raise RunDirectoryError(f"{directory} exists and holds no run of mpsearch; give another --run-dir")
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    with _alone_in(directory):
        fresh = not file.exists()
        if fresh:
            write_text(file, json.dumps({"fingerprint": identity, "command": command}))
        study = directory / "study.yaml"
        if not study.exists():  # a run killed right after its claim has none
            write_text(study, config.to_yaml())
        counted = directory / _TALLY
        tally = PassCounts(json.loads(counted.read_text()) if counted.exists() else None)
        try:
            with tally.listening("preparation"):
                yield
        except UsageError as error:
            # What asks wrongly has done nothing that could be gone on with; what fails later has.
            if fresh and (isinstance(error, ConfigError | UnknownNameError) or _names(directory) <= {file.name, study.name}):
                _remove(directory, made)
            raise


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    lock = FileLock(directory / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunDirectoryError(
            f"another process is at work in {directory}; wait for it to end and say the same again, or give another --run-dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {_LOCK}


def _remove(directory: Path, made: Sequence[Path]) -> None:
    """The run directory with all it holds, and the folders above it that were made for it."""
    for entry in directory.iterdir():
        entry.unlink()
    for folder in made or [directory]:
        with suppress(OSError):  # another run has moved in meanwhile
            folder.rmdir()
