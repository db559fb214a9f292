"""Optuna's storage: opening, and what a study keeps beside its trials (`records.py`).

| attribute of the study | content |
|---|---|
| `layers` | names of the layers, in the order of the trials' `bits` |
| `made_from` | identity of what its trials depend on |
| `ending` | why no other trial begins, while workers are still at work on some |
| `ended` | why the study has ended |
"""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from mpsearch.core.errors import ConfigError, MpsearchError, RunDirectoryError
from mpsearch.core.url import without_password

__all__ = [
    "announce_end",
    "check_made_from",
    "end_of",
    "end_study",
    "ending_of",
    "open_storage",
    "open_study",
    "reading_study",
    "set_aside_if_damaged",
    "storage_errors",
    "study_ended",
]

_JOURNAL = "journal:///"
_WAIT = 30.0
"""Seconds to wait for another process that writes to the same SQLite file."""
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begin of a rollback journal of SQLite, and its end where it names a super-journal (SQLite's file format, section 3)."""
_LAYERS = "layers"
_MADE_FROM = "made_from"
_ENDING = "ending"
_ENDED = "ended"


def open_storage(url: str) -> BaseStorage:
    """Optuna's storage behind a URL.

    Args:
        url: SQLAlchemy URL, such as `sqlite:///trials.db` (relative) or `sqlite:////data/trials.db`; or `journal:///trials.log`, a
            journal file, which many machines can share over a network file system.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    # An interrupt that meets SQLAlchemy returning a connection is raised; that its pool also logs the traceback helps nobody.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        if url.startswith(_JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(_JOURNAL)))
        storage = (
            _one_writer(RDBStorage(url, {"connect_args": {"timeout": _WAIT}}))
            if _is_sqlite(url)
            else RDBStorage(url, {"pool_pre_ping": True})
        )
    except Exception as error:  # each database driver has its own exceptions
        reason = without_password(str(error)).partition("\n")[0]
        raise ConfigError(
            f"storage: '{without_password(url)}' cannot be opened ({reason}); "
            "give a URL such as sqlite:///trials.db or journal:///trials.log in a folder that exists, "
            "or postgresql://… with the driver of pip install 'mpsearch[postgresql]'",
            path="storage",
        ) from error
    weakref.finalize(storage, storage.engine.dispose)  # a server has few connections: none outlives its storage
    return storage


def _is_sqlite(url: str) -> bool:
    return url.startswith(("sqlite:", "sqlite+"))


def _one_writer(storage: RDBStorage) -> RDBStorage:
    """Let transactions of SQLite follow each other, since it has no `SELECT … FOR UPDATE`.

    Without this, two processes that end or take the same trial could both read that it is running, and both write.
    """

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin a transaction only at its first write

    def began(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", connected)
    event.listen(storage.engine, "begin", began)
    storage.engine.dispose()  # connections from before the listeners
    return storage


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database raises while trials run (locked, full, read-only, gone) into one line.

    Raises:
        RunDirectoryError: the storage cannot be read or written.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        reason = without_password(str(getattr(cause, "orig", None) or cause)).partition("\n")[0]
        raise RunDirectoryError(
            f"storage '{without_password(url)}': {reason}; mend that, and the same command goes on where it stopped"
        ) from error


@contextmanager
def reading_study(name: str) -> Iterator[None]:
    """Turn what comes of rows that this program did not write into one line.

    Raises:
        RunDirectoryError: the study in the storage cannot be read.
    """
    try:
        yield
    except (MpsearchError, SQLAlchemyError, StorageInternalError):
        raise
    except Exception as error:  # whatever Optuna raises on damaged rows
        reason = str(error).strip().partition("\n")[0][:200]
        raise RunDirectoryError(
            f"the study '{name}' in the storage was damaged ({type(error).__name__}: {reason}); give another --run-dir"
        ) from error


def set_aside_if_damaged(file: Path, say: Callable[[str], None]) -> None:
    """Rename an SQLite file that is damaged to `NAME.damaged`, so that its trials are run again.

    Args:
        file: the file; it may be missing.
        say: gets a line about a damaged file.

    Raises:
        RunDirectoryError: the file was made to do more than hold trials.
    """
    if not file.exists():
        return
    if _names_another_file(file.with_name(f"{file.name}-journal")):
        raise RunDirectoryError(f"{file}-journal names another file, which SQLite would delete; remove that journal")
    try:
        with closing(sqlite3.connect(file)) as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone():
                raise RunDirectoryError(f"{file} holds code of its own (triggers or views); give another --run-dir")
            sound = file.stat().st_size > 0 and database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    except sqlite3.OperationalError:  # locked, or unreadable: whoever opens it says so
        return
    except sqlite3.DatabaseError:
        sound = False
    if not sound:
        kept = file.replace(file.with_name(f"{file.name}.damaged"))
        say(f"{file.name} was damaged; it is kept as {kept.name}, and its trials are run again")


def _names_another_file(journal: Path) -> bool:
    """Whether a rollback journal ends with the name of a super-journal, as after a transaction over several files; ours are over one."""
    if not journal.is_file() or journal.stat().st_size < len(_JOURNAL_MAGIC):
        return False
    with journal.open("rb") as stream:
        stream.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
        return stream.read() == _JOURNAL_MAGIC


def open_study(url: str, name: str, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    """Open or create the study `name`, which minimises validation error and the largest budget share.

    Args:
        url: see `open_storage`.
        name: of the study.
        sampler: sampler of the trials.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    return optuna.create_study(study_name=name, storage=storage, directions=["minimize", "minimize"], load_if_exists=True, sampler=sampler)


def check_made_from(study: optuna.Study, made_from: str, layers: Sequence[str]) -> None:
    """Tie a new study to what its trials depend on, and to the layers that their bits are of.

    Raises:
        RunDirectoryError: the study was begun with something else.
    """
    attributes = study.user_attrs
    for key, ours in ((_LAYERS, list(layers)), (_MADE_FROM, made_from)):
        if attributes.get(key, ours) != ours:
            raise RunDirectoryError(
                f"the study '{study.study_name}' in this storage was begun with another network or data; "
                "undo that change, or give another --run-dir"
            )
        if key not in attributes:
            study.set_user_attr(key, ours)


def end_study(study: optuna.Study, reason: str) -> None:
    """End the study and store the reason; a study that has ended is only read."""
    study.set_user_attr(_ENDED, reason)


def end_of(study: optuna.Study) -> str | None:
    """Why the study has ended; None if it has not."""
    reason: str | None = study.user_attrs.get(_ENDED)
    return reason


def announce_end(study: optuna.Study, reason: str) -> None:
    """Let no worker begin another trial; the study ends once those under way have."""
    if ending_of(study) is None:
        study.set_user_attr(_ENDING, reason)


def ending_of(study: optuna.Study) -> str | None:
    """Why no other trial begins; None if one may."""
    reason: str | None = study.user_attrs.get(_ENDING)
    return reason


def study_ended(url: str, name: str) -> bool:
    """Whether a study has ended."""
    with reading_study(name):
        return end_of(open_study(url, name)) is not None
