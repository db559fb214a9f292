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

import optuna
from optuna.trial import TrialState

from mpsearch.allocate.infeasible import exhausted
from mpsearch.core.errors import BudgetError, ConfigError, RunDirectoryError
from mpsearch.core.progress import Bar, Progress, Silent
from mpsearch.core.record import Record, Trial
from mpsearch.propose.observation import Proposal
from mpsearch.study.records import (
    Begun,
    StoredRecords,
    begin_trial,
    close_abandoned,
    finished_trials,
    proposal_attributes,
    write_record,
)
from mpsearch.study.sampler import BitsSampler, suggest_bits
from mpsearch.study.settings import SearchSettings
from mpsearch.study.stopping import Outlook
from mpsearch.study.storage import check_made_from, end_of, end_study, open_study, reading_study
from mpsearch.trials.climb import best_record, evaluate_trial, trial_seed
from mpsearch.trials.evaluator import Evaluator
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
) -> list[Record]:
    """Run trials until a stopping rule holds, in a new or an interrupted study; returns the records of all its trials.

    Unfinished trials of a dead process are marked as failed, and their bits can be proposed again. A study that has ended is only read.

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

    Raises:
        RunDirectoryError: the study in the storage was made from something else.
        ConfigError: the storage cannot be opened, or the sampler cannot sample these bits or two objectives.
    """
    progress, problem = progress or Silent(), evaluator.problem
    study = open_study(storage, name, sampler)
    ended = threading.Event()
    study.stop = ended.set  # type: ignore[method-assign]  # Optuna's own needs `optimize`; GridSampler calls it after its last trial
    stored = StoredRecords(problem.space.names)
    with reading_study(name):
        check_made_from(study, made_from, problem.space.names)
        close_abandoned(study, stored, problem.budgets)
        records = stored.of(study)
        _check(records, problem)
        _outlooks(study)
    with progress.phase("study", settings.stopping.trials) as bar:
        bar.update(len(records))
        for record in records:
            told(record)
        began, before = time.monotonic(), len(records)
        reason = end_of(study)
        while reason is None:
            reason = settings.stopping.reason(_outlooks(study), spent())
            if reason is not None:
                break
            try:
                _run_trial(study, evaluator, settings, records, bar)
            except BudgetError as error:
                reason = str(error)
                break
            records = stored.of(study)
            told(records[-1])
            if len(records) == before + 1:
                _say_how_long(time.monotonic() - began, settings, len(records), progress)
            if ended.is_set() and not isinstance(sampler, BitsSampler):  # BitsSampler raises BudgetError at the next trial
                reason = f"{type(sampler).__name__} has nothing left to propose"
            best = best_record(records)
            bar.update(len(records), text="" if best is None else f"best {problem.task.metric_name} {best.score.metric:.4f}")
        end_study(study, reason)
        if len(records) < settings.stopping.trials:
            progress.say(reason)
    return records


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


def _outlooks(study: optuna.Study) -> list[Outlook]:
    return [Outlook(**trial.user_attrs.get("outlook", {})) for trial in finished_trials(study)]


def _run_trial(study: optuna.Study, evaluator: Evaluator, settings: SearchSettings, records: Sequence[Record], bar: Bar) -> None:
    """Propose one trial, evaluate it, store its record."""
    sampler, problem = study.sampler, evaluator.problem
    own = sampler if isinstance(sampler, BitsSampler) else None
    if own is not None:
        if not own.searcher.left([record.allocation for record in records]):
            raise exhausted()
        proposal = own.propose(study)
        begun = begin_trial(study, proposal_attributes(proposal, len(records)), _shares(problem.amounts(proposal.allocation), problem))
    else:
        begun, proposal = _asked(study, problem, len(records))
    record = evaluate_trial(
        evaluator,
        settings.rungs,
        settings.default,
        records,
        Trial(number=begun.number, origin=proposal.origin, allocation=proposal.allocation),
        lambda: settings.suggest(begun.asked),
        lambda text: bar.update(len(records), text=text),
        seed=trial_seed(problem, len(records)),
        searcher=None if own is None else own.searcher,
    )
    write_record(begun, record, problem.budgets, told=own is None)
    if own is not None:
        own.forget(study, begun.number)


def _shares(costs: Mapping[str, float], problem: Problem) -> dict[str, float]:
    """What a trial uses of each budget less one; a constraint to samplers that know some."""
    return {budget.cost: costs[budget.cost] / budget.limit - 1 for budget in problem.budgets}


def _asked(study: optuna.Study, problem: Problem, ordinal: int) -> tuple[Begun, Proposal]:
    """A trial of another sampler, which draws the bits of each layer as a parameter.

    Raises:
        ConfigError: the sampler cannot sample two objectives or these bits.
    """
    asked, kind = study.ask(), type(study.sampler).__name__
    try:
        allocation = suggest_bits(asked, problem.space)
    except ValueError as error:
        study.tell(asked, state=TrialState.FAIL)
        if "multi-objective" in str(error):
            raise ConfigError(
                f"sampler: {kind} takes one objective, a study has two (error and cost); "
                "give one that takes both, such as TPESampler or NSGAIISampler",
                path="sampler",
            ) from error
        raise ConfigError(f"sampler: {kind} cannot draw the bits: {error}", path="sampler") from error
    proposal = Proposal(origin=kind, allocation=allocation)
    for name, value in proposal_attributes(proposal, ordinal).items():
        asked.set_user_attr(name, value)
    for name, share in _shares(problem.amounts(allocation), problem).items():
        asked.set_constraint(name, share)
    return Begun(study=study, trial_id=asked._trial_id, number=asked.number), proposal
