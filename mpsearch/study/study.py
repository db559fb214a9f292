"""The study: Optuna trials of (bits, method, hyperparameters) in rungs. The only door to optuna.

A trial is asked for, climbs the rungs as long as it is among the best (`promotion.py`), and is told (validation error, first budget's
cost). Optuna cannot prune with two objectives, so the rungs are ours. All bits and hyperparameters are ordinary Optuna params.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import optuna

from mpsearch.allocate.infeasible import exhausted
from mpsearch.core.errors import BudgetError, ConfigError
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.record import Record
from mpsearch.propose.observation import observed
from mpsearch.study.sampler import BitsSampler, suggest_bits
from mpsearch.study.settings import SearchSettings
from mpsearch.study.stopping import Outlook
from mpsearch.trials.climb import best_record, climb
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

__all__ = ["run_trials"]

_STUDY = "mpsearch"


def run_trials(
    problem: Problem,
    evaluator: Evaluator,
    sampler: optuna.samplers.BaseSampler,
    settings: SearchSettings,
    storage: Path,
    progress: Progress | None = None,
) -> list[Record]:
    """Run, or go on with, the study in the SQLite file `storage`; returns all records.

    A trial that was in flight when a run was killed is marked failed and proposed again.

    Args:
        problem: what is searched.
        evaluator: trains and scores.
        sampler: proposes; `study_sampler.bits_sampler`, or any other of Optuna's, whose trials may then break the budgets.
        settings: rungs, hyperparameters, when to end.
        storage: the file.
        progress: a bar and words.

    Raises:
        ConfigError: a sampler that cannot sample for a loss and a cost at once, or not these bits.
    """
    progress = progress or Silent()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=_STUDY,
        storage=f"sqlite:///{storage}",
        directions=["minimize", "minimize"],
        load_if_exists=True,
        sampler=sampler,
    )
    ended = threading.Event()
    study.stop = ended.set  # type: ignore[method-assign]  # a grid that is through; optuna's own refuses where trials are asked and told
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    done = [t for t in study.get_trials(deepcopy=False) if "record" in t.user_attrs and t.state.is_finished()]
    records = [Record.from_dict(json.loads(t.user_attrs["record"])) for t in done]
    outlooks = [Outlook(**t.user_attrs.get("outlook", {})) for t in done]
    before, started = sum(record.seconds for record in records), time.monotonic()
    with progress.phase("study", settings.stopping.trials) as bar:
        bar.update(len(records))
        while (reason := settings.stopping.reason(outlooks, before + time.monotonic() - started)) is None:
            try:
                record, outlook = _run_trial(study, problem, evaluator, settings, records, lambda text: bar.update(len(records), text=text))
            except BudgetError as error:
                reason = str(error)
                break
            records.append(record)
            outlooks.append(outlook)
            if ended.is_set() and not isinstance(sampler, BitsSampler):  # which says itself, at the next trial, that all is tried
                reason = f"{type(sampler).__name__} has nothing left to propose"
                break
            best = best_record(records)
            bar.update(len(records), text="" if best is None else f"best {problem.task.metric_name} {best.score.metric:.4f}")
        if len(records) < settings.stopping.trials:
            progress.say(reason)
    return records


def _run_trial(
    study: optuna.Study,
    problem: Problem,
    evaluator: Evaluator,
    settings: SearchSettings,
    records: Sequence[Record],
    tell: Callable[[str], None],
) -> tuple[Record, Outlook]:
    number = len(records)
    sampler = study.sampler
    if isinstance(sampler, BitsSampler) and not sampler.searcher.left([record.allocation for record in records]):
        raise exhausted()
    trial = study.ask()
    try:
        allocation = suggest_bits(trial, problem.space)
    except ValueError as error:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if "multi-objective" in str(error):
            raise ConfigError(
                f"sampler: {type(sampler).__name__} takes one objective, a study has two (error and cost); "
                "give one that takes both, such as TPESampler or NSGAIISampler",
                path="sampler",
            ) from error
        raise ConfigError(f"sampler: {type(sampler).__name__} cannot draw the bits: {error}", path="sampler") from error
    origin, outlook = type(sampler).__name__, Outlook()
    if isinstance(sampler, BitsSampler) and (proposal := sampler.proposal(trial)) is not None:
        origin, outlook = proposal.origin, Outlook(improvement=proposal.improvement, noise=proposal.noise)
    trial.set_user_attr("origin", origin)
    if math.isfinite(outlook.improvement):
        trial.set_user_attr("outlook", asdict(outlook))
    record = climb(
        problem,
        evaluator,
        settings.rungs,
        settings.default,
        records,
        Record(number=number, origin=origin, allocation=allocation, rung="", scores={}, costs={}),
        lambda: settings.suggest(trial),
        tell,
        searcher=sampler.searcher if isinstance(sampler, BitsSampler) else None,
    )
    for budget in problem.budgets:
        trial.set_constraint(budget.cost, record.costs[budget.cost] / budget.limit - 1)
    trial.set_user_attr("losses", dict(observed(record).losses))
    trial.set_user_attr("record", json.dumps(record.to_dict()))
    if record.status == "complete":
        study.tell(trial, [record.score.error, record.costs[problem.budgets[0].cost]])
    else:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return record, outlook
