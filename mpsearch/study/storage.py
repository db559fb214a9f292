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
import re
import sqlite3
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import Connection, event
from sqlalchemy.exc import NoSuchModuleError, OperationalError, SQLAlchemyError

from mpsearch.core.errors import ConfigError, MpsearchError, RunDirectoryError
from mpsearch.core.url import without_password
from mpsearch.study.grpc_proxy import GRPC, open_proxy, proxy_faults, reason_of

__all__ = [
    "OBJECTIVES",
    "announce_end",
    "check_made_from",
    "end_of",
    "end_study",
    "ending_of",
    "only_study",
    "open_storage",
    "open_study",
    "reading_study",
    "set_aside_if_damaged",
    "storage_errors",
    "storage_faults",
    "study_ended",
]

_JOURNAL = "journal:///"
_WAIT = 30.0
"""Seconds to wait for another process that writes to the same SQLite file."""
_CONNECT = 10
"""Seconds until a database server counts as out of reach."""
_IN_FULL = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
"""Scheme → the same with the driver that the extra of this name brings; `mysql`, since Optuna takes MariaDB for another database."""
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begin of a rollback journal of SQLite, and its end where it names a super-journal (SQLite's file format, section 3)."""
_LAYERS = "layers"
_MADE_FROM = "made_from"
_ENDING = "ending"
_ENDED = "ended"
OBJECTIVES = ["validation error", "largest share of a budget"]
"""What a trial's two values are called where Optuna shows them."""


def open_storage(url: str, *, connections: int | None = None) -> BaseStorage:
    """Optuna's storage behind a URL.

    Args:
        url: SQLAlchemy URL, such as `sqlite:///trials.db` (relative), `sqlite:////data/trials.db`, `postgresql://…` or `mysql://…`; or
            `journal:///trials.log`, a journal file, which many machines can share over a network file system; or `grpc://HOST:PORT`.
        connections: to a database server, at most; None: a few.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    # An interrupt that meets SQLAlchemy returning a connection is raised; that its pool also logs the traceback helps nobody.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        if url.startswith(_JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(_JOURNAL)))
        if url.startswith(GRPC):
            return open_proxy(url)
        storage = _one_writer(RDBStorage(url, {"connect_args": {"timeout": _WAIT}})) if _is_sqlite(url) else _on_server(url, connections)
    except ConfigError:
        raise
    except Exception as error:  # each database driver has its own exceptions
        reason = _reason(error)
        raise ConfigError(f"storage: '{without_password(url)}' cannot be opened ({reason}); {_cure(url, error)}", path="storage") from error
    weakref.finalize(storage, storage.engine.dispose)  # a server has few connections: none outlives its storage
    return storage


def _on_server(url: str, connections: int | None) -> RDBStorage:
    """A storage on a database server."""
    options: dict[str, Any] = {"pool_pre_ping": True}
    if connections is not None:
        options |= {"pool_size": connections, "max_overflow": 0}
    scheme, separator, place = url.partition("://")
    scheme = _IN_FULL.get(scheme, scheme)
    if scheme.startswith("mysql"):
        # As on PostgreSQL: a transaction that waited for another's lock goes on with what that one wrote, instead of failing.
        options["isolation_level"] = "READ COMMITTED"
    if scheme in _IN_FULL.values() and "connect_timeout=" not in url:
        options["connect_args"] = {"connect_timeout": _CONNECT}
    return RDBStorage(f"{scheme}{separator}{place}", options)


def _reason(error: BaseException) -> str:
    """What a driver, a database or a proxy says, on one line."""
    if isinstance(error, StorageInternalError):
        error = error.__cause__ or error
    said = getattr(error, "orig", None) or error
    parts: tuple[object, ...] = getattr(said, "args", ())
    told = reason_of(said) if isinstance(said, proxy_faults()) else str(parts[-1] if len(parts) == 2 else said)  # of MySQL: number, text
    return without_password(told).strip().partition("\n")[0]


def _cure(url: str, error: Exception) -> str:
    """The next step of whoever gave a URL that cannot be opened."""
    if url.startswith(GRPC):
        return "give a URL such as grpc://HOST:13000, and start the proxy there: mpsearch proxy --storage postgresql://…"
    extra = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}.get(re.split(r"\+|://", url)[0])
    if extra is not None and isinstance(error, ImportError | NoSuchModuleError):
        return f"give a URL such as {extra}://… without a driver, and pip install 'mpsearch[{extra}]'"
    if extra is not None and isinstance(error, OperationalError):
        return "check that its server runs and is reached from here, and user, password and database"
    return (
        "give a URL such as sqlite:///trials.db or journal:///trials.log in a folder that exists, "
        "or postgresql://…, mysql://… or grpc://HOST:PORT"
    )


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


def storage_faults() -> tuple[type[Exception], ...]:
    """What a storage raises if it cannot be read or written."""
    return (SQLAlchemyError, StorageInternalError, *proxy_faults())


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database raises while trials run (locked, full, read-only, gone) into one line.

    Raises:
        RunDirectoryError: the storage cannot be read or written.
    """
    try:
        yield
    except storage_faults() as error:
        raise RunDirectoryError(
            f"storage '{without_password(url)}': {_reason(error)}; mend that, and the same command goes on where it stopped"
        ) from error


@contextmanager
def reading_study(name: str) -> Iterator[None]:
    """Turn what comes of rows that this program did not write into one line.

    Raises:
        RunDirectoryError: the study in the storage cannot be read.
    """
    try:
        yield
    except MpsearchError:
        raise
    except storage_faults():
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
            sound = file.stat().st_size > 0 and database.execute("PRAGMA quick_check").fetchone() == ("ok",) and _is_text(database)
    except sqlite3.OperationalError:  # locked, or unreadable: whoever opens it says so
        return
    except sqlite3.DatabaseError:
        sound = False
    if not sound:
        kept = file.replace(file.with_name(f"{file.name}.damaged"))
        say(f"{file.name} was damaged; it is kept as {kept.name}, and its trials are run again")


def only_study(file: Path) -> str | None:
    """The name of the study in an SQLite file that holds one; None if it holds none or several, or cannot be read."""
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(file)) as database:
            names = [name for (name,) in database.execute("SELECT study_name FROM studies")]
    except sqlite3.Error:  # whoever opens it says so
        return None
    return str(names[0]) if len(names) == 1 else None


def _is_text(database: sqlite3.Connection) -> bool:
    """Whether what trials hold can be decoded, which SQLite's own check does not ask."""
    database.text_factory = bytes
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'trial_user_attributes'").fetchone():
        return True
    try:
        for (value,) in database.execute("SELECT value_json FROM trial_user_attributes"):
            bytes(value).decode()
    except UnicodeDecodeError:
        return False
    return True


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
    if _MADE_FROM not in attributes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(OBJECTIVES)
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
