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
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from mpsearch.core.errors import BudgetError, ConfigError, ModelError, TrainingDiverged
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.record import Record, Score
from mpsearch.engine.observation import observed
from mpsearch.engine.problem import Evaluator, Problem, with_epochs
from mpsearch.engine.promotion import goes_on, goes_on_by_score
from mpsearch.engine.refusal import exhausted
from mpsearch.engine.sampler import BitsSampler, suggest_bits
from mpsearch.engine.searcher import Searcher
from mpsearch.engine.stopping import Outlook, Stopping
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.training.recipe import Recipe

__all__ = ["Hyperparameters", "Rung", "SearchSettings", "best_record", "climb", "costed", "run_trials"]

_STUDY = "mpsearch"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One stage of a trial.

    Args:
        name: such as `ptq`, `short`, `long`.
        epochs: of training in this rung, going on from the rung before; 0 is calibration with BatchNorm re-estimated.
        keep: share of the trials of the rung before that may enter.
    """

    name: str
    epochs: int
    keep: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What a trial trains with.

    Args:
        method: quantization method.
        recipe: its epochs are those of the rung.
        params: as shown to people.
    """

    method: Method
    recipe: Recipe
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a study searches.

    Args:
        stopping: when it ends.
        rungs: from cheap to dear; the first one every trial takes.
        default: hyperparameters of rungs without training, and of references.
        suggest: Optuna trial → hyperparameters; asked when a trial first trains.
    """

    stopping: Stopping
    rungs: tuple[Rung, ...]
    default: Hyperparameters
    suggest: Callable[[optuna.trial.BaseTrial], Hyperparameters]


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
        sampler: proposes; `engine.propose.bits_sampler`, or any other of Optuna's, whose trials may then break the budgets.
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


def best_record(records: Sequence[Record]) -> Record | None:
    """The feasible record with the least error among those that reached the deepest rung any feasible one reached."""
    feasible = [record for record in records if record.feasible and record.status == "complete"]
    deepest = max((len(record.scores) for record in feasible), default=0)
    return min((r for r in feasible if len(r.scores) == deepest), key=lambda r: (r.score.error, r.score.loss, r.number), default=None)


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
        settings,
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


def climb(
    problem: Problem,
    evaluator: Evaluator,
    settings: SearchSettings,
    records: Sequence[Record],
    record: Record,
    choose: Callable[[], Hyperparameters],
    tell: Callable[[str], None] = lambda text: None,
    *,
    to_the_top: bool = False,
    searcher: Searcher | None = None,
) -> Record:
    """Take an allocation up the rungs; returns its record, failed if the loss or the weights stopped being finite.

    Args:
        problem: what is searched.
        evaluator: trains and scores.
        settings: rungs.
        records: those it competes with.
        record: without scores and costs; these are of the method it is trained with.
        choose: gives the hyperparameters when the first training rung is reached.
        tell: words for a progress bar.
        to_the_top: skip the competition.
        searcher: what is expected of allocations; without one, trials compete by their scores alone.
    """
    started = time.monotonic()
    scores: dict[str, Score] = {}
    curve: list[dict[str, float]] = []
    chosen = settings.default
    record = costed(problem, record, chosen.method)
    network: Network | None = None
    try:
        for rung in settings.rungs:
            reached = replace(record, scores=scores)
            if scores and not to_the_top and not _goes_on(rung, reached, records, None if network else searcher):
                break
            if rung.epochs == 0:
                score = _scored_before(reached, rung, records) or evaluator.untrained(record.allocation, chosen.method, chosen.recipe)
            else:
                if network is None:
                    chosen = choose()
                    record = costed(problem, record, chosen.method)
                    network = evaluator.begin(record.allocation, chosen.method)
                recipe = with_epochs(chosen.recipe, rung.epochs)
                seed = problem.seed * 7919 + record.number + 1
                curve += evaluator.train(
                    network,
                    chosen.method,
                    recipe,
                    seed=seed,
                    on_step=partial(_tell_step, tell, f"trial {record.number} {rung.name}"),
                )
                score = evaluator.score(network)
            if not math.isfinite(score.loss):
                raise TrainingDiverged(f"the validation loss is {score.loss} at rung '{rung.name}'")
            scores[rung.name] = score
    except (TrainingDiverged, ModelError) as error:
        return replace(
            record,
            rung=next(reversed(scores), ""),
            scores=scores,
            params=chosen.params,
            status="failed",
            note=str(error),
            seconds=time.monotonic() - started,
        )
    return replace(
        record,
        rung=next(reversed(scores)),
        scores=scores,
        params=chosen.params if curve else {},
        curve=tuple(curve),
        seconds=time.monotonic() - started,
    )


def _goes_on(rung: Rung, record: Record, records: Sequence[Record], searcher: Searcher | None) -> bool:
    if searcher is None or len(record.scores) > 1:
        return goes_on_by_score(record, records, rung.keep)
    return goes_on(record, records, rung.keep, searcher)


def _scored_before(record: Record, rung: Rung, records: Sequence[Record]) -> Score | None:
    """What the same bits scored at a rung without training, which knows no hyperparameters, when they waited there."""
    return next((r.scores[rung.name] for r in records if r.allocation == record.allocation and rung.name in r.scores), None)


def costed(problem: Problem, record: Record, method: Method) -> Record:
    """The record with the costs of its allocation as `method` writes it."""
    return replace(record, costs=problem.amounts(record.allocation, method), feasible=problem.fits(record.allocation, method))


def _tell_step(tell: Callable[[str], None], what: str, done: int, total: int) -> None:
    tell(f"{what} {done}/{total}")
