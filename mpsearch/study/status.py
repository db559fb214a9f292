"""`Status`: what the workers of a study are at, from its storage alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from mpsearch.config.yaml_file import parse_yaml
from mpsearch.study.leases import abandoned, first_successors, lease_of
from mpsearch.study.published import find_study, published
from mpsearch.study.records import finished_trials, proposal_of
from mpsearch.study.storage import end_of, reading_study, storage_errors

__all__ = ["Running", "Status", "status_of"]

_RECENT = 20
"""Trials that the pace is taken from."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial under way.

    Args:
        number: in the study.
        worker: who is at work on it.
        origin: who proposed it.
        seconds: since it began.
        renewals: of its lease.
    """

    number: int
    worker: str
    origin: str
    seconds: float
    renewals: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a study.

    Args:
        name: of the study.
        ended: why it has ended; None if it has not.
        trials: that it will have; None if it does not say.
        done: that have ended with a record.
        failed: of these, those whose training failed.
        waiting: abandoned trials, to be taken over.
        taken_over: that were.
        running: under way.
        by_worker: worker → trials that it has ended.
        best: number and validation error of the best trial by error.
        pace: trials a minute, of the latest twenty; None before the second.
    """

    name: str
    ended: str | None
    trials: int | None
    done: int
    failed: int
    waiting: int
    taken_over: int
    running: tuple[Running, ...]
    by_worker: dict[str, int]
    best: tuple[int, float] | None
    pace: float | None

    @property
    def minutes_left(self) -> float | None:
        """Expected minutes to the last trial; None if that cannot be said."""
        if self.ended is not None or self.trials is None or not self.pace:
            return None
        return max(0, self.trials - self.done) / self.pace


def status_of(url: str, name: str | None) -> Status:
    """The state of a study.

    Raises:
        ConfigError: there is no such study.
        RunDirectoryError: the storage cannot be read.
    """
    study = find_study(url, name)
    with storage_errors(url), reading_study(study.study_name):
        trials = study.get_trials(deepcopy=False)
        shared, ended = published(study), end_of(study)
        successors = first_successors(trials)
        counted = [trial for trial in finished_trials(trials) if trial.number not in successors]
        complete = [trial for trial in counted if trial.state == TrialState.COMPLETE]
        best = min(complete, key=lambda trial: (trial.values[0], trial.number), default=None)
        return Status(
            name=study.study_name,
            ended=ended,
            trials=None if shared is None else _limit(shared.study),
            done=len(counted),
            failed=len(counted) - len(complete),
            waiting=len(abandoned(trials)),
            taken_over=len(successors),
            running=tuple(_running(trial) for trial in trials if trial.state == TrialState.RUNNING),
            by_worker=dict(Counter(str(lease_of(trial).get("worker", "this run")) for trial in counted).most_common()),
            best=None if best is None else (best.number, float(best.values[0])),
            pace=_pace(counted),
        )


def _limit(study: str) -> int | None:
    content = parse_yaml(study, label="study")
    search = content.get("search") if isinstance(content, dict) else None
    trials = search.get("trials") if isinstance(search, dict) else None
    return trials if isinstance(trials, int) else None


def _running(trial: FrozenTrial) -> Running:
    lease, began = lease_of(trial), trial.datetime_start
    return Running(
        number=trial.number,
        worker=str(lease.get("worker", "this run")),
        origin=str(proposal_of(trial).get("origin", "")),
        seconds=0.0 if began is None else max(0.0, (datetime.now() - began).total_seconds()),
        renewals=int(lease.get("count", 0)),
    )


def _pace(counted: Sequence[FrozenTrial]) -> float | None:
    ends = sorted(trial.datetime_complete for trial in counted if trial.datetime_complete is not None)[-_RECENT:]
    seconds = (ends[-1] - ends[0]).total_seconds() if len(ends) > 1 else 0.0
    return 60 * (len(ends) - 1) / seconds if seconds else None
