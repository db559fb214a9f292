"""Optuna's storage: opening, and the records of trials in it.

| attribute | of | content |
|---|---|---|
| `record` | trial | its `Record`, written once at the end of the trial; trials without a record are ignored |
| `origin`, `outlook` | trial | source of the proposal; its expected improvement |
| `ended` | study | why the study has ended |
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mpsearch.core.budget import Budget, tightness
from mpsearch.core.errors import ConfigError
from mpsearch.core.record import Record
from mpsearch.core.url import without_password
from mpsearch.propose.observation import observed

__all__ = [
    "StoredRecords",
    "close_abandoned",
    "end_of",
    "end_study",
    "finished_trials",
    "open_storage",
    "open_study",
    "study_ended",
    "write_record",
]

_JOURNAL = "journal:///"
_RECORD = "record"
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
            self._records[trial.number] = Record.from_dict(trial.user_attrs[_RECORD])
        return self._records[trial.number]

    def losses(self, trial: FrozenTrial) -> Mapping[str, float] | None:
        """Validation loss by rung, for `BitsSampler`; None if the trial has no record."""
        record = self.record(trial)
        return None if record is None else observed(record).losses


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
    return end_of(open_study(url, name)) is not None
