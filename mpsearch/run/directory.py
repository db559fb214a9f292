"""The run directory: the names of its files, and the claim on it that one process holds at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mpsearch.core.errors import ConfigError, RunDirectoryError, UnknownNameError, UsageError
from mpsearch.core.files import write_text
from mpsearch.run.clock import read_passes
from mpsearch.study.storage import open_storage

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["BITS", "CARD", "CARD_FIELDS", "REPORT", "STORAGE", "SUMMARY", "claim_of", "claimed"]

BITS = "bits.yaml"
CARD = "card.md"
CARD_FIELDS = "card.json"
REPORT = "front.html"
STORAGE = "study.db"
SUMMARY = "summary.json"
_CLAIM = "run.json"
_STUDY = "study.yaml"
_LOCK = ".lock"
"""Locked while a process works in the directory; the system unlocks it when the process dies."""


@contextmanager
def claimed(directory: Path, config: StudyConfig, command: str, *, extra: str = "", storage: str | None = None) -> Iterator[None]:
    """Claim a run directory for this process: a new one is made, one that holds the same study is continued.

    A request that is refused removes what it has made.

    Args:
        directory: of the run.
        config: the study.
        command: the command line, for messages.
        extra: digest of whatever else the results depend on.
        storage: URL of Optuna's storage, unless it is a file in the directory.

    Raises:
        RunDirectoryError: it holds another study or something else, or another process is at work there.
        ConfigError: the storage cannot be opened.
    """
    if storage is not None:
        open_storage(storage)  # now, not after hours
    identity = f"{config.fingerprint()}{extra}{'' if storage is None else hashlib.sha256(storage.encode()).hexdigest()[:16]}"
    file = directory / _CLAIM
    if file.exists():
        held = json.loads(file.read_text())
        if held["fingerprint"] != identity:
            raise RunDirectoryError(
                f"{directory} holds another study ('{held['command']}'); give another --run-dir, or delete that folder to start afresh"
            )
    elif directory.exists() and any(not entry.name.startswith((f".{_CLAIM}.", _LOCK)) for entry in directory.iterdir()):
        raise RunDirectoryError(f"{directory} exists and holds no run of mpsearch; give another --run-dir")
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        fresh = not file.exists()
        if fresh:
            write_text(file, json.dumps({"fingerprint": identity, "command": command}))
        study = directory / _STUDY
        if not study.exists():  # a run killed right after its claim has none
            write_text(study, config.to_yaml())
        try:
            with read_passes(directory).listening("preparation"):
                yield
        except UsageError as error:
            # A wrong request has done nothing worth continuing; an error that shows up later has.
            if fresh and (isinstance(error, ConfigError | UnknownNameError) or _names(directory) <= {_CLAIM, _STUDY}):
                _remove(directory, made)
            raise


def claim_of(directory: Path) -> str:
    """Fingerprint of the study that a run directory was claimed for."""
    return str(json.loads((directory / _CLAIM).read_text())["fingerprint"])


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = FileLock(directory / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunDirectoryError(
            f"another process is at work in {directory}; wait for it to end and repeat the command, or give another --run-dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {_LOCK}


def _remove(directory: Path, made: Sequence[Path]) -> None:
    """Remove the run directory with all it holds, and the folders above it that were made for it."""
    for entry in directory.iterdir():
        entry.unlink()
    for folder in made or [directory]:
        with suppress(OSError):  # another run has moved in meanwhile
            folder.rmdir()
