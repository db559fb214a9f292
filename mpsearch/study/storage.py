"""Optuna's storage: opening, and the records of trials in it.

| attribute | of | content |
|---|---|---|
| `record` | trial | its `Record`, written once at the end of the trial; trials without a record are ignored |
| `origin`, `outlook` | trial | source of the proposal; its expected improvement |
| `made_from` | study | identity of what its trials depend on |
| `ended` | study | why the study has ended |
"""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mpsearch.core.budget import Budget, tightness
from mpsearch.core.errors import ConfigError, MpsearchError, RunDirectoryError
from mpsearch.core.record import Record
from mpsearch.core.url import without_password
from mpsearch.propose.observation import observed

__all__ = [
    "StoredRecords",
    "check_made_from",
    "close_abandoned",
    "end_of",
    "end_study",
    "finished_trials",
    "open_storage",
    "open_study",
    "reading_study",
    "set_aside_if_damaged",
    "storage_errors",
    "study_ended",
    "write_record",
]

_JOURNAL = "journal:///"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begin of a rollback journal of SQLite, and its end where it names a super-journal (SQLite's file format, section 3)."""
_RECORD = "record"
_MADE_FROM = "made_from"
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
        storage = RDBStorage(url)
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


class StoredRecords:
    """The records in a study's storage; each is parsed once."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}

    def of(self, study: optuna.Study) -> list[Record]:
        """The records of all trials that have ended, by number."""
        return [record for trial in finished_trials(study) if (record := self.record(trial)) is not None]

    def record(self, trial: FrozenTrial) -> Record | None:
        """The record of a trial; None if it has none."""
        if trial.number not in self._records:
            if _RECORD not in trial.user_attrs:
                return None
            try:
                self._records[trial.number] = Record.from_dict(trial.user_attrs[_RECORD])
            except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
                raise RunDirectoryError(
                    f"the record of trial {trial.number} in the storage was damaged ({type(error).__name__}: {error}); "
                    "give another --run-dir"
                ) from error
        return self._records[trial.number]

    def losses(self, trial: FrozenTrial) -> Mapping[str, float] | None:
        """Validation loss by rung, for `BitsSampler`; None if the trial has no record."""
        record = self.record(trial)
        return None if record is None else observed(record).losses

    def errors(self, trial: FrozenTrial) -> Mapping[str, float]:
        """Validation error by rung, for a searcher that reads it; empty if the trial has no record."""
        record = self.record(trial)
        return {} if record is None else observed(record).errors


def check_made_from(study: optuna.Study, made_from: str) -> None:
    """Tie a new study to what its trials depend on.

    Raises:
        RunDirectoryError: the study was begun with something else.
    """
    if study.user_attrs.get(_MADE_FROM, made_from) != made_from:
        raise RunDirectoryError(
            f"the study '{study.study_name}' in this storage was begun with another network or data; "
            "undo that change, or give another --run-dir"
        )
    study.set_user_attr(_MADE_FROM, made_from)


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended with a record, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if _RECORD in trial.user_attrs and trial.state.is_finished()]


def write_record(study: optuna.Study, trial: optuna.Trial, record: Record, budgets: Sequence[Budget]) -> None:
    """Store the record of a trial, and end it.

    Args:
        study: of the trial.
        trial: running.
        record: its result.
        budgets: budgets of the study; the largest used share is the second objective.
    """
    trial.set_user_attr(_RECORD, record.to_dict())
    _tell(study, record, budgets)


def close_abandoned(study: optuna.Study, budgets: Sequence[Budget]) -> None:
    """End the running trials of a dead process: with their record if they have one, else as failed."""
    records = StoredRecords()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        record = records.record(trial)
        if record is None:
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            _tell(study, record, budgets)


def _tell(study: optuna.Study, record: Record, budgets: Sequence[Budget]) -> None:
    if record.status == "complete":
        study.tell(record.number, [record.score.error, tightness(record.costs, budgets)])
    else:
        study.tell(record.number, state=TrialState.FAIL)


def end_study(study: optuna.Study, reason: str) -> None:
    """End the study and store the reason; a study that has ended is only read."""
    study.set_user_attr(_ENDED, reason)


def end_of(study: optuna.Study) -> str | None:
    """Why the study has ended; None if it has not."""
    reason: str | None = study.user_attrs.get(_ENDED)
    return reason


def study_ended(url: str, name: str) -> bool:
    """Whether a study has ended."""
    with reading_study(name):
        return end_of(open_study(url, name)) is not None
