"""The run directory: the names of its files, and its lock by one process at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mpsearch.core.errors import ConfigError, RunDirectoryError, UnknownNameError, UsageError
from mpsearch.core.files import write_text
from mpsearch.data.fingerprint import content_digest
from mpsearch.run.clock import PASSES, SECONDS, read_passes
from mpsearch.run.read_back import check_regular, read_back
from mpsearch.run.trust import remember
from mpsearch.study.storage import open_storage

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = [
    "BITS",
    "CARD",
    "CARD_FIELDS",
    "CLAIM",
    "FRONT",
    "IDENTITY",
    "REPORT",
    "SPACE",
    "STORAGE",
    "STUDY",
    "SUMMARY",
    "check_files",
    "claim_of",
    "claimed",
]

BITS = "bits.yaml"
CARD = "card.md"
CARD_FIELDS = "card.json"
REPORT = "front.html"
SPACE = "space.json"
STORAGE = "study.db"
SUMMARY = "summary.json"
CLAIM = "run.json"
STUDY = "study.yaml"
IDENTITY = "identity.json"
FRONT = "front"
"""Folder of the points of a front, each in a folder of its own."""
_BEGUN = {CLAIM, STUDY, IDENTITY, SECONDS, PASSES}
"""Files of a run without any result."""
_LOCK = ".lock"
"""Lock file, where a folder cannot be locked."""


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
    with _one_line(directory):
        check_files(directory)
        file, study, text = directory / CLAIM, directory / STUDY, config.to_yaml()
        claim = read_back(file, _Claim.from_dict)
        occupied = directory.exists() and any(not entry.name.startswith((f".{CLAIM}.", _LOCK)) for entry in directory.iterdir())
        if claim is not None and claim.fingerprint != identity:
            raise RunDirectoryError(
                f"{directory} holds another study ('{claim.command}'); give another --run-dir, or delete that folder to start again"
            )
        if claim is None and occupied and (found := _text(study)) != text:
            held = "holds another study" if found else "exists and holds no run of mpsearch"
            raise RunDirectoryError(f"{directory} {held}; give another --run-dir")
        created = [folder for folder in (directory, *directory.parents) if not folder.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            if claim is None:  # new, or the file is gone or damaged
                made = _Claim(fingerprint=identity, command=command)
                write_text(file, json.dumps({**asdict(made), "digest": made.digest}))
            if _text(study) != text:  # missing if the run was killed right after its claim
                write_text(study, text)
            remember(directory, text)
            try:
                with read_passes(directory).listening("preparation"):
                    yield
            except UsageError as error:
                # A wrong request has no results to keep; a later error has.
                if not occupied and (isinstance(error, ConfigError | UnknownNameError) or _names(directory) <= _BEGUN):
                    _remove(directory, created)
                raise


def check_files(directory: Path) -> None:
    """Check that a run directory, which may be a stranger's, holds no link out of it, and nothing that cannot be read to an end.

    Raises:
        RunDirectoryError: an entry is neither a regular file nor a folder.
    """
    for entry in (*directory.iterdir(), *(directory / FRONT).rglob("*")) if directory.is_dir() else ():
        if entry.is_symlink() or not entry.is_dir():
            check_regular(entry)


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """The study of a run directory: its fingerprint, and the command that began it."""

    fingerprint: str
    command: str

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> _Claim:
        found = cls(fingerprint=str(document["fingerprint"]), command=str(document["command"]))
        if document["digest"] != found.digest:  # one wrong bit would make it another study's
            raise ValueError("its digest does not match its content")
        return found

    @property
    def digest(self) -> str:
        return content_digest([self.fingerprint, self.command])


def claim_of(directory: Path) -> str:
    """Fingerprint of the study of a run directory."""
    return str(json.loads((directory / CLAIM).read_text())["fingerprint"])


@contextmanager
def _one_line(directory: Path) -> Iterator[None]:
    """A disk that is full, a folder that is read-only or gone: a refusal that says so, not a traceback."""
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise RunDirectoryError(
            f"{place}: {error.strerror or error}; mend that, and the same command goes on where it stopped, or give another --run-dir"
        ) from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        release = _lock(directory)
    except (BlockingIOError, Timeout):
        raise RunDirectoryError(
            f"another process is at work in {directory}; wait for it to end and repeat the command, or give another --run-dir"
        ) from None
    try:
        yield
    finally:
        release()


def _lock(directory: Path) -> Callable[[], None]:
    """Lock the folder itself, since a lock file could be deleted; the operating system releases the lock when the process dies."""
    try:
        import fcntl
    except ImportError:  # Windows cannot lock a folder
        held = FileLock(directory / _LOCK).acquire(blocking=False)
        return held.lock.release
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return lambda: os.close(descriptor)


def _text(path: Path) -> str:
    """The text of a file; "" if there is none or it is damaged."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {_LOCK}


def _remove(directory: Path, created: Sequence[Path]) -> None:
    """Remove the run directory with its files, and the parent folders created for it."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():  # of a logger
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for folder in created or [directory]:
        with suppress(OSError):  # another run uses the folder
            folder.rmdir()
