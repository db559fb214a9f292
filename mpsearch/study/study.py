"""`run_trials`: bits, method and hyperparameters are proposed, evaluated rung by rung, and recorded in Optuna's storage.

Each trial is promoted from rung to rung while it is among the best (`mpsearch.trials.promotion`, since Optuna cannot prune trials with two
objectives). Its objectives are the validation error and the largest budget share. Hyperparameters are ordinary Optuna parameters; so are
bits that another sampler draws, while those of `BitsSampler` are one attribute.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import BudgetError, RunDirectoryError
from mpsearch.core.interrupt import Terminated, finishing_steps
from mpsearch.core.progress import Bar, Progress, Silent
from mpsearch.core.record import Record, Trial
from mpsearch.data.fingerprint import content_digest
from mpsearch.propose.observation import Proposal, observed
from mpsearch.study.bits_text import read_bits
from mpsearch.study.handover import CHECKPOINT, Handover
from mpsearch.study.leases import LEASE, Lease, LeaseLost, Sharing, Watch, abandoned, first_successors, is_void
from mpsearch.study.other_samplers import ask_other
from mpsearch.study.records import (
    BITS,
    COSTS,
    Begun,
    StoredRecords,
    begin_trial,
    budget_shares,
    close_abandoned,
    finished_trials,
    mean_bits,
    outlook_of,
    proposal_attributes,
    proposal_of,
    resuming_attributes,
    write_record,
)
from mpsearch.study.sampler import BitsSampler
from mpsearch.study.settings import SearchSettings
from mpsearch.study.stopping import Outlook
from mpsearch.study.storage import announce_end, check_made_from, end_of, end_study, ending_of, open_study, reading_study
from mpsearch.trials.climb import best_record, evaluate_trial, trial_seed
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.partway import Partway
from mpsearch.trials.problem import Problem

__all__ = ["STUDY", "run_trials"]

_LONG = 120.0
"""Seconds; what takes less is not announced."""
STUDY = "mpsearch"
"""Name of the study in its own storage file."""


def run_trials(
    evaluator: Evaluator,
    sampler: optuna.samplers.BaseSampler,
    settings: SearchSettings,
    storage: str,
    progress: Progress | None = None,
    *,
    name: str = STUDY,
    made_from: str = "",
    spent: Callable[[], float] = lambda: 0.0,
    told: Callable[[Record], None] = lambda record: None,
    sharing: Sharing | None = None,
) -> list[Record]:
    """Run trials until a stopping rule holds, in a new or an interrupted study; returns the records of all its trials.

    Unfinished trials of a dead process are marked as failed, and their bits can be proposed again; where several workers share the study,
    they are taken over with the same bits and seed once their lease has expired. A study that has ended is only read.

    Args:
        evaluator: trains and scores; has the search problem.
        sampler: that of `study_sampler.bits_sampler`, or any other Optuna sampler, whose trials can exceed the budgets.
        settings: rungs, hyperparameters, stopping rules.
        storage: URL, see `storage.open_study`.
        progress: gets a bar, and the reason if the study ends early.
        name: of the study within the storage.
        made_from: identity of what the trials depend on besides the study itself: network, data, code.
        spent: seconds of the search until now, those of interrupted processes included, for `Stopping.timeout`.
        told: called with each record once it is stored, those of earlier processes first.
        sharing: how this process shares the study with others; None: it is alone.

    Raises:
        RunDirectoryError: the study in the storage was made from something else.
        ConfigError: the storage cannot be opened, or the sampler cannot sample these bits or two objectives.
    """
    progress, problem = progress or Silent(), evaluator.problem
    study = open_study(storage, name, sampler)
    work = _Work(study, evaluator, settings, sharing, progress)
    study.stop = work.ended.set  # type: ignore[method-assign]  # Optuna's own needs `optimize`; GridSampler calls it after its last trial
    with reading_study(name):
        check_made_from(study, made_from, problem.space.names)
        look = work.look()
        _check(look.records, problem)
        reason = end_of(study)
    with progress.phase("study", settings.stopping.trials) as bar:
        reported, began, before = set[int](), time.monotonic(), len(look.records)
        while True:
            reported = _report_new(look.records, reported, told)
            best = best_record(look.records)
            bar.update(len(look.records), text="" if best is None else f"best {problem.task.metric_name} {best.score.metric:.4f}")
            if reason is not None:
                break
            if sharing is None and len(look.records) == before + 1:
                _say_how_long(time.monotonic() - began, settings, len(look.records), progress)
            why = (ending_of(study) if sharing is not None else None) or settings.stopping.reason(look.outlooks, spent())
            if why is None and work.ended.is_set() and not isinstance(sampler, BitsSampler):  # BitsSampler raises BudgetError
                why = f"{type(sampler).__name__} has nothing left to propose"
            if why is None:
                try:
                    worked = work.step(look, bar)
                except BudgetError as error:
                    why, worked = None if look.live else str(error), False
                if worked:
                    look = work.look()
                    continue
            if why is not None and not look.live:
                reason = why
                end_study(study, reason)
                break
            if why is None and sharing is None:  # only others can be waited for
                continue
            if why is not None:
                announce_end(study, why)
            time.sleep(work.pause)
            look, reason = work.look(), end_of(study)
        if len(look.records) < settings.stopping.trials:
            progress.say(reason)
    return look.records


@dataclass(frozen=True, kw_only=True)
class _Look:
    """A study as read at one moment.

    Args:
        trials: all, by number.
        records: of the trials that have ended and count.
        outlooks: what was expected of them.
        live: number of trials that others are at work on.
        abandoned: trials to take over.
    """

    trials: Sequence[FrozenTrial]
    records: list[Record]
    outlooks: list[Outlook]
    live: int
    abandoned: list[FrozenTrial]


class _Work:
    """One process at work on a study.

    Args:
        study: with its sampler.
        evaluator: trains and scores.
        settings: rungs, hyperparameters, stopping rules.
        sharing: None: there are no others.
        progress: gets lines.
    """

    def __init__(
        self, study: optuna.Study, evaluator: Evaluator, settings: SearchSettings, sharing: Sharing | None, progress: Progress
    ) -> None:
        self.study, self._evaluator, self._settings, self._sharing, self._progress = study, evaluator, settings, sharing, progress
        self.ended = threading.Event()
        self.pause = 0.0 if sharing is None else sharing.poll
        self._stored = StoredRecords(evaluator.problem.space.names)
        self._watch = Watch(sharing)
        self._saving: set[int] = set()

    def look(self) -> _Look:
        """Read the study, after ending the trials whose workers have died."""
        study, budgets = self.study, self._evaluator.problem.budgets
        trials = study.get_trials(deepcopy=False)
        if expired := self._watch.expired(trials):
            close_abandoned(study, expired, self._stored, budgets)
            trials = study.get_trials(deepcopy=False)
        successors = first_successors(trials)
        counted = [trial for trial in finished_trials(trials) if trial.number not in successors]
        return _Look(
            trials=trials,
            records=self._stored.of(counted),
            outlooks=[outlook_of(trial) for trial in counted],
            live=sum(trial.state == TrialState.RUNNING for trial in trials),
            abandoned=abandoned(trials) if self._sharing is not None else [],
        )

    def step(self, look: _Look, bar: Bar) -> bool:
        """Evaluate one trial, an abandoned one first; False if others are at work on all that is left.

        Raises:
            BudgetError: every allocation within the budgets was evaluated, or others are at work on it.
        """
        ordinal = len(look.records) + look.live
        if ordinal >= self._settings.stopping.trials:
            return False
        for trial in look.abandoned:
            bits = read_bits(trial.user_attrs[BITS], self._evaluator.problem.space.names)
            proposal = Proposal(origin=str(proposal_of(trial).get("origin", "")), allocation=bits)
            if (begun := self._begin(look, resuming_attributes(trial), bits, trial)) is not None:
                self._progress.say(f"trial {begun.number} takes over trial {trial.number}, whose worker is gone")
                self._evaluate(begun, proposal, look, int(proposal_of(trial).get("ordinal", 0)), bar)
                return True
        sampler = self.study.sampler
        if not isinstance(sampler, BitsSampler):
            begun, proposal = ask_other(self.study, self._evaluator.problem, ordinal)
            self._evaluate(begun, proposal, look, ordinal, bar)
            return True
        under_way = [trial for trial in look.trials if trial.state == TrialState.RUNNING and BITS in trial.user_attrs]
        names = self._evaluator.problem.space.names
        tried = [*(r.allocation for r in look.records), *(read_bits(t.user_attrs[BITS], names) for t in under_way)]
        if not sampler.searcher.left(tried, [observed(record) for record in look.records]):
            raise sampler.searcher.nothing_left()
        proposal = sampler.propose(self.study)
        again = any(record.allocation == proposal.allocation for record in look.records)
        started = self._begin(look, proposal_attributes(proposal, ordinal, again=again), proposal.allocation)
        if started is not None:
            self._evaluate(started, proposal, look, ordinal, bar)
        return True

    def _begin(self, look: _Look, attributes: Mapping[str, Any], allocation: Allocation, drawn: FrozenTrial | None = None) -> Begun | None:
        """A trial with these bits; None if another worker was earlier."""
        sharing, problem = self._sharing, self._evaluator.problem
        lease = {} if sharing is None else {LEASE: {"worker": sharing.worker, "count": 0}}
        amounts = problem.amounts(allocation)
        told = {COSTS: {name: float(amount) for name, amount in amounts.items()}}
        means = mean_bits(allocation, problem.space.layers)
        begun = begin_trial(self.study, {**attributes, **told, **lease}, budget_shares(amounts, problem.budgets), drawn, means)
        known = {trial.user_attrs[BITS] for trial in finished_trials(look.trials) if BITS in trial.user_attrs}
        if sharing is not None and is_void(begun, self.study.get_trials(deepcopy=False), known, self._settings.stopping.trials):
            close_abandoned(self.study, [self.study._storage.get_trial(begun.trial_id)], self._stored, problem.budgets)
            return None
        return begun

    def _evaluate(self, begun: Begun, proposal: Proposal, look: _Look, ordinal: int, bar: Bar) -> None:
        """Evaluate a trial and store its record, unless another worker takes it over."""
        own = self.study.sampler if isinstance(self.study.sampler, BitsSampler) else None
        problem, done = self._evaluator.problem, len(look.records)
        partway = self._partway(begun, look, ordinal)
        try:
            with Lease(begun, self._sharing) as lease, self._ending() as told_to_end:

                def tell(text: str) -> None:
                    lease.check()
                    if told_to_end():
                        self._hand_back(begun, partway)
                    bar.update(done, text=text)

                record = evaluate_trial(
                    self._evaluator,
                    self._settings.rungs,
                    self._settings.default,
                    look.records,
                    Trial(number=begun.number, origin=proposal.origin, allocation=proposal.allocation),
                    lambda: self._settings.suggest(begun.asked),
                    tell,
                    seed=trial_seed(problem, ordinal),
                    searcher=None if own is None else own.searcher,
                    partway=partway,
                )
                write_record(begun, record, problem.budgets, told=own is None)
        except (LeaseLost, UpdateFinishedTrialError):
            self._progress.say(f"trial {begun.number} was taken over by another worker; its result here does not count")
        if own is not None:
            own.forget(self.study, begun.number)

    def _ending(self) -> AbstractContextManager[Callable[[], bool]]:
        """Where nobody takes a trial over, nothing waits for its next step."""
        return nullcontext(lambda: False) if self._sharing is None else finishing_steps()

    def _partway(self, begun: Begun, look: _Look, ordinal: int) -> Partway:
        """What the trial leaves to others, and what it finds."""
        sharing = self._sharing
        if sharing is None or sharing.folder is None or sharing.store is None:
            return Partway()
        attributes = begun.asked.user_attrs
        resumed = next((trial for trial in look.trials if trial.number == proposal_of(begun.asked).get("resumes")), None)
        inherited = resumed.user_attrs.get(CHECKPOINT, {}) if resumed is not None else {}
        made_from = content_digest([self.study.user_attrs.get("made_from", ""), attributes[BITS], ordinal])
        return Handover(begun, inherited, made_from=made_from, folder=sharing.folder, store=sharing.store, say=self._progress.say)

    def _hand_back(self, begun: Begun, partway: Partway) -> None:
        """At a step of a training, after SIGTERM: let it save its state, then leave the trial to others.

        Raises:
            Terminated: at the second step.
        """
        if begun.number not in self._saving and isinstance(partway, Handover):
            self._saving.add(begun.number)
            partway.save_soon()
            return
        if isinstance(partway, Handover):
            partway.hand_over()
        close_abandoned(self.study, [self.study._storage.get_trial(begun.trial_id)], self._stored, self._evaluator.problem.budgets)
        self._progress.say(f"trial {begun.number} is handed back")
        raise Terminated


def _report_new(records: Sequence[Record], reported: set[int], told: Callable[[Record], None]) -> set[int]:
    for record in records:
        if record.number not in reported:
            told(record)
    return reported | {record.number for record in records}


def _say_how_long(seconds: float, settings: SearchSettings, done: int, progress: Progress) -> None:
    """A line about the time to come, if it is long: as many trials as are left, each like the first."""
    to_come = settings.stopping.trials - done
    expected = min(seconds * to_come, settings.stopping.seconds or math.inf)
    if expected >= _LONG:
        promoted = ", ".join(rung.name for rung in settings.rungs[1:] if rung.epochs)
        more = f", more where they are promoted to {promoted}" if promoted else ""
        progress.say(f"trial {done - 1} took {seconds:.0f} s; {to_come} to come take about {expected / 60:.0f} min{more}")


def _check(records: Sequence[Record], problem: Problem) -> None:
    """Check that stored records are of this problem.

    Raises:
        SpaceError: an allocation is of another space.
        RunDirectoryError: a record lacks a cost.
    """
    for record in records:
        problem.space.check(record.allocation)
        if missing := problem.costs.keys() - record.costs.keys():
            raise RunDirectoryError(f"trial {record.number} in the storage has no cost '{min(missing)}'; give another --run-dir")
