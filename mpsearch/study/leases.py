"""Leases: which running trials somebody is at work on, when several workers share a study.

Optuna's own heartbeats do not work with `ask` and `tell`, nor in a journal file. A lease needs no clock that machines agree on, and nothing
of a storage but what every kind of it has:

- A worker begins a trial in one write, with all its attributes. So numbers give the order in which bits are taken; of two trials with the
  same bits the one with the smaller number goes on, and the other is void.
- While it is at work it counts up the trial's attribute `lease`. Who has seen the same count for as long as a lease, by its own monotonic
  clock, ends the trial as failed. A trial ends once, and an ended one takes no writes: a late worker's record is refused.
- A trial that failed without a record is abandoned. Whoever takes it over begins another that names it (`resumes`); the first that does is
  its successor, others are void.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from mpsearch.core.errors import MpsearchError
from mpsearch.study.records import BITS, RECORD, Begun, finished_trials, proposal_of
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import storage_faults

__all__ = ["LEASE", "Lease", "LeaseLost", "Sharing", "Watch", "abandoned", "first_successors", "is_void", "lease_of"]

LEASE = "lease"
_RENEWALS = 4
"""Renewals in the time of a lease."""


class LeaseLost(MpsearchError):
    """Another worker has taken the trial over."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How this process shares a study with others.

    Args:
        worker: its name in the study. Two processes of one name never live at a time, since the name belongs to a locked run directory.
        seconds: of a lease, the same for all workers of a study.
        folder: for files of this process; None: trials are taken over from their beginning.
        store: files that workers share; None likewise.
    """

    worker: str
    seconds: float
    folder: Path | None = None
    store: SharedFiles | None = None

    @property
    def poll(self) -> float:
        """Seconds between two looks at what others do."""
        return min(1.0, self.seconds / _RENEWALS)


def lease_of(trial: FrozenTrial) -> dict[str, Any]:
    """Worker and count of a trial; empty if no worker shares it."""
    held = trial.user_attrs.get(LEASE)
    return held if isinstance(held, dict) else {}


class Watch:
    """What one process has seen of the leases of others.

    Args:
        sharing: None: the study is this process's alone, so whatever runs in it has died.
        clock: seconds that never go back.
    """

    def __init__(self, sharing: Sharing | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._sharing = sharing
        self._clock = clock
        self._seen: dict[int, tuple[object, float]] = {}

    def expired(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The running trials that nobody is at work on.

        Args:
            trials: all, as read just now, while this process is at work on none.
        """
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if self._sharing is None:
            return running
        now, seen = self._clock(), self._seen
        self._seen = {}
        for trial in running:
            lease = lease_of(trial)
            before = seen.get(trial.number)
            self._seen[trial.number] = (lease, now) if before is None or before[0] != lease else before
        return [
            trial
            for trial in running
            if lease_of(trial).get("worker") == self._sharing.worker or now - self._seen[trial.number][1] >= self._sharing.seconds
        ]


class Lease:
    """Renews the lease of a trial in a thread of its own while the `with` is at work on it.

    Args:
        begun: the trial.
        sharing: None: there is nobody to tell.
    """

    def __init__(self, begun: Begun, sharing: Sharing | None) -> None:
        self._begun = begun
        self._sharing = sharing
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of trial {begun.number}", daemon=True)

    def __enter__(self) -> Lease:
        if self._sharing is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._sharing is not None:
            self._thread.join()

    def check(self) -> None:
        """Called wherever long work reports its progress.

        Raises:
            LeaseLost: another worker has taken the trial over.
        """
        if self._lost.is_set():
            raise LeaseLost(f"trial {self._begun.number} was taken over by another worker")

    def _renew(self) -> None:
        assert self._sharing is not None
        storage, count = self._begun.study._storage, 0
        while not self._over.wait(self._sharing.seconds / _RENEWALS):
            count += 1
            try:
                storage.set_trial_user_attr(self._begun.trial_id, LEASE, {"worker": self._sharing.worker, "count": count})
            except (UpdateFinishedTrialError, KeyError):
                self._lost.set()
                break
            except OSError:  # out of reach; the next renewal may succeed, or the trial is lost
                continue
            except storage_faults():
                continue
        storage.remove_session()


def first_successors(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """Number of a trial → that of its successor, the first trial that resumes it."""
    found: dict[int, int] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        resumes = proposal_of(trial).get("resumes")
        if isinstance(resumes, int):
            found.setdefault(resumes, trial.number)
    return found


def abandoned(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that failed without a record, and whose bits nobody has measured or is at work on, by number."""
    successors = first_successors(trials)
    taken = {trial.user_attrs[BITS] for trial in trials if BITS in trial.user_attrs and trial.state == TrialState.RUNNING}
    recorded: dict[str, int] = {}
    for trial in trials:
        if BITS in trial.user_attrs and RECORD in trial.user_attrs and trial.state.is_finished():
            recorded[trial.user_attrs[BITS]] = recorded.get(trial.user_attrs[BITS], 0) + 1
    found: list[FrozenTrial] = []
    for trial in trials:
        bits, proposal = trial.user_attrs.get(BITS), proposal_of(trial)
        if trial.state != TrialState.FAIL or RECORD in trial.user_attrs or bits is None or bits in taken:
            continue
        if trial.number in successors or recorded.get(bits, 0) > int(bool(proposal.get("again"))):
            continue
        found.append(trial)
        taken.add(bits)
    return found


def is_void(begun: Begun, trials: Sequence[FrozenTrial], known: set[str], limit: int) -> bool:
    """Whether earlier trials leave none to one that has just begun, or one of them has its bits, or resumes the same trial.

    Args:
        begun: the trial.
        trials: all, as read after it began.
        known: bits of the trials that were known to have ended when it was proposed.
        limit: trials of the study.
    """
    mine = next(trial for trial in trials if trial.number == begun.number)
    bits, resumes = mine.user_attrs[BITS], proposal_of(mine).get("resumes")
    if mine.state.is_finished():  # this process was stopped for longer than a lease
        return True
    earlier, successors = [trial for trial in trials if trial.number < begun.number], first_successors(trials)
    under_way = sum(trial.state == TrialState.RUNNING for trial in earlier)
    if under_way + sum(trial.number not in successors for trial in finished_trials(earlier)) >= limit:
        return True
    for other in earlier:
        if other.user_attrs.get(BITS) != bits:
            continue
        if resumes is not None and proposal_of(other).get("resumes") == resumes:
            return True
        if other.state == TrialState.RUNNING or (RECORD in other.user_attrs and other.number != resumes and bits not in known):
            return True
    return False
