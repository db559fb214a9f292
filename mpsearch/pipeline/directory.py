"""The run directory: whose it is, atomic writes, seconds and passes by phase."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.core.errors import RunDirectoryError, UsageError
from mpsearch.core.tally import Tally, listener, phase

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["ARTIFACT", "BITS", "CARD", "CARD_FIELDS", "Clock", "claimed", "write_text"]

ARTIFACT = "model.safetensors"
BITS = "bits.yaml"
CARD = "card.md"
CARD_FIELDS = "card.json"
_TALLY = "tally.json"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


class Clock:
    """Wall seconds by phase, summed over interruptions and kept in `seconds.json`; beside it in `tally.json` what was counted."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._tally = listener()
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

    Raises:
        RunDirectoryError: it holds another study, or something else altogether.
    """
    identity = f"{config.fingerprint()}{extra}"
    file = directory / "run.json"
    if file.exists():
        held = json.loads(file.read_text())
        if held["fingerprint"] != identity:
            raise RunDirectoryError(
                f"{directory} holds another study ('{held['command']}'); give another --run-dir, or delete that folder to start afresh"
            )
    elif directory.exists() and any(not entry.name.startswith(".run.json.") for entry in directory.iterdir()):
        raise RunDirectoryError(f"{directory} exists and holds no run of mpsearch; give another --run-dir")
    fresh = not file.exists()
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    if fresh:
        directory.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"fingerprint": identity, "command": command}))
    study = directory / "study.yaml"
    if not study.exists():  # a run killed right after its claim has none
        write_text(study, config.to_yaml())
    counted = directory / _TALLY
    tally = Tally(json.loads(counted.read_text()) if counted.exists() else None)
    try:
        with tally.listening("preparation"):
            yield
    except UsageError:
        if fresh and {entry.name for entry in directory.iterdir()} == {file.name, study.name}:
            file.unlink()
            study.unlink()
            for folder in made or [directory]:
                with suppress(OSError):  # another run has moved in meanwhile
                    folder.rmdir()
        raise
