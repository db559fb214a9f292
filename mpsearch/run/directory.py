"""The run directory: the names of its files, and its lock by one process at a time."""

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
"""Lock file of the working process; the operating system releases the lock when the process dies."""


@contextmanager
def claimed(directory: Path, config: StudyConfig, command: str, *, extra: str = "", storage: str | None = None) -> Iterator[None]:
    """Create or lock a run directory for this process; a directory of the same study is resumed.

    A refused request removes the files that it has created.

    Args:
        directory: run directory.
        config: the study.
        command: the command line, for messages.
        extra: digest of other data that affect the results.
        storage: URL of Optuna's storage; None: a file in the directory.

    Raises:
        RunDirectoryError: the directory holds another study or other files, or another process works in it.
        ConfigError: the storage cannot be opened.
    """
    if storage is not None:
        open_storage(storage)  # fail early
    identity = f"{config.fingerprint()}{extra}{'' if storage is None else hashlib.sha256(storage.encode()).hexdigest()[:16]}"
    file = directory / _CLAIM
    if file.exists():
        claim = json.loads(file.read_text())
        if claim["fingerprint"] != identity:
            raise RunDirectoryError(
                f"{directory} holds another study ('{claim['command']}'); give another --run-dir, or delete that folder to start again"
            )
    elif directory.exists() and any(not entry.name.startswith((f".{_CLAIM}.", _LOCK)) for entry in directory.iterdir()):
        raise RunDirectoryError(f"{directory} exists and holds no run of mpsearch; give another --run-dir")
    created = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        fresh = not file.exists()
        if fresh:
            write_text(file, json.dumps({"fingerprint": identity, "command": command}))
        study = directory / _STUDY
        if not study.exists():  # missing if the run was killed right after its claim
            write_text(study, config.to_yaml())
        try:
            with read_passes(directory).listening("preparation"):
                yield
        except UsageError as error:
            # A wrong request has no results to keep; a later error has.
            if fresh and (isinstance(error, ConfigError | UnknownNameError) or _names(directory) <= {_CLAIM, _STUDY}):
                _remove(directory, created)
            raise


def claim_of(directory: Path) -> str:
    """Fingerprint of the study of a run directory."""
    return str(json.loads((directory / _CLAIM).read_text())["fingerprint"])


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        held = FileLock(directory / _LOCK).acquire(blocking=False)
    except Timeout:
        raise RunDirectoryError(
            f"another process is at work in {directory}; wait for it to end and repeat the command, or give another --run-dir"
        ) from None
    with held:
        yield


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {_LOCK}


def _remove(directory: Path, created: Sequence[Path]) -> None:
    """Remove the run directory with its files, and the parent folders created for it."""
    for entry in directory.iterdir():
        entry.unlink()
    for folder in created or [directory]:
        with suppress(OSError):  # another run uses the folder
            folder.rmdir()
