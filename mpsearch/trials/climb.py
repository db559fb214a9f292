"""`climb`: one trial, from rung to rung as long as it is worth it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mpsearch.core.errors import ModelError, TrainingDiverged
from mpsearch.core.record import Record, Score
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.propose.searcher import Searcher
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem
from mpsearch.trials.promotion import goes_on, goes_on_by_score

__all__ = ["Hyperparameters", "Rung", "best_record", "climb", "costed"]


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


def best_record(records: Sequence[Record]) -> Record | None:
    """The feasible record with the least error among those that reached the deepest rung any feasible one reached."""
    feasible = [record for record in records if record.feasible and record.status == "complete"]
    deepest = max((len(record.scores) for record in feasible), default=0)
    return min((r for r in feasible if len(r.scores) == deepest), key=lambda r: (r.score.error, r.score.loss, r.number), default=None)


def climb(
    problem: Problem,
    evaluator: Evaluator,
    rungs: Sequence[Rung],
    default: Hyperparameters,
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
        rungs: from cheap to dear.
        default: what rungs without training take.
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
    chosen = default
    record = costed(problem, record, chosen.method)
    network: Network | None = None
    try:
        for rung in rungs:
            reached = replace(record, scores=scores)
            if scores and not to_the_top and not _goes_on(problem, rung, reached, records, None if network else searcher):
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


def _goes_on(problem: Problem, rung: Rung, record: Record, records: Sequence[Record], searcher: Searcher | None) -> bool:
    if searcher is None or len(record.scores) > 1:
        return goes_on_by_score(record, records, rung.keep, problem.budgets)
    return goes_on(record, records, rung.keep, searcher)


def _scored_before(record: Record, rung: Rung, records: Sequence[Record]) -> Score | None:
    """What the same bits scored at a rung without training, which knows no hyperparameters, when they waited there."""
    return next((r.scores[rung.name] for r in records if r.allocation == record.allocation and rung.name in r.scores), None)


def costed(problem: Problem, record: Record, method: Method) -> Record:
    """The record with the costs of its allocation as `method` writes it."""
    return replace(record, costs=problem.amounts(record.allocation, method), feasible=problem.fits(record.allocation, method))


def _tell_step(tell: Callable[[str], None], what: str, done: int, total: int) -> None:
    tell(f"{what} {done}/{total}")
