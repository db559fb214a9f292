"""`evaluate_trial`: the evaluation of one trial, rung by rung as long as it is promoted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mpsearch.core.errors import ModelError, TrainingDiverged
from mpsearch.core.record import Record, Score, Trial
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.propose.searcher import Searcher
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.partway import Partway, RungState
from mpsearch.trials.problem import Problem
from mpsearch.trials.promotion import goes_on, goes_on_by_score

__all__ = ["Hyperparameters", "Rung", "best_record", "evaluate_trial", "trial_seed"]

_NOTHING_KEPT = Partway()


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One fidelity of a trial.

    Args:
        name: such as `ptq`, `short`, `long`.
        epochs: epochs of training, continued from the previous rung; 0 means calibration and re-estimated BatchNorm statistics.
        keep: share of the trials of the previous rung that are promoted to this one.
    """

    name: str
    epochs: int
    keep: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Method and recipe of a trial.

    Args:
        method: quantization method.
        recipe: training recipe; the rung sets its epochs.
        params: the searched values by name, as reports show them.
    """

    method: Method
    recipe: Recipe
    params: dict[str, Any] = field(default_factory=dict)


def best_record(records: Sequence[Record]) -> Record | None:
    """The feasible record of least error at the deepest rung that any feasible record reached; None if there is none."""
    feasible = [record for record in records if record.feasible and record.status == "complete"]
    deepest = max((len(record.scores) for record in feasible), default=0)
    return min((r for r in feasible if len(r.scores) == deepest), key=lambda r: (r.score.error, r.score.loss, r.number), default=None)


def trial_seed(problem: Problem, ordinal: int) -> int:
    """Seed of a trial's training.

    Args:
        problem: its seed is the base.
        ordinal: number of trials that ended before this one; −1 for references. Trials of a killed process do not count, so an interrupted
            study trains like an uninterrupted one.
    """
    return problem.seed * 7919 + ordinal + 1


def evaluate_trial(
    evaluator: Evaluator,
    rungs: Sequence[Rung],
    default: Hyperparameters,
    records: Sequence[Record],
    trial: Trial,
    choose: Callable[[], Hyperparameters],
    tell: Callable[[str], None] = lambda text: None,
    *,
    seed: int,
    to_the_top: bool = False,
    searcher: Searcher | None = None,
    partway: Partway = _NOTHING_KEPT,
) -> Record:
    """Evaluate a trial rung by rung as long as it is promoted. The record has status `failed` if a loss or a weight is not finite.

    Args:
        evaluator: trains and scores; has the search problem.
        rungs: from cheap to expensive.
        default: hyperparameters of the rungs without training.
        records: the trials it competes with.
        trial: number, origin and allocation.
        choose: returns the hyperparameters; called at the first rung with training.
        tell: called with a short text for a progress bar.
        seed: of the training.
        to_the_top: run every rung, without competition.
        searcher: predicts the loss of allocations; None: trials compete only by their scores.
        partway: keeps where the trial stands; rungs that an earlier process has climbed are not climbed again.
    """
    problem, started = evaluator.problem, time.monotonic()
    scores: dict[str, Score] = {}
    curve: list[dict[str, float]] = []
    chosen = default
    network: Network | None = None

    def record(**outcome: Any) -> Record:
        return Record(
            number=trial.number,
            origin=trial.origin,
            allocation=trial.allocation,
            rung=next(reversed(scores), ""),
            scores=dict(scores),
            costs=problem.amounts(trial.allocation, chosen.method),
            feasible=problem.fits(trial.allocation, chosen.method),
            seconds=time.monotonic() - started,
            **outcome,
        )

    try:
        held = partway.held()
        for rung in rungs:
            if held is not None and rung.name in held.scores:
                scores[rung.name] = held.scores[rung.name]
                if network is None and rung.epochs:
                    chosen = choose()
                    network = evaluator.begin(trial.allocation, chosen.method)
                    network.model.load_state_dict(held.model)
                    curve += held.curve
                continue
            if scores and not to_the_top and not _goes_on(problem, rung, record(), records, None if network else searcher):
                break
            if rung.epochs == 0:
                score = _known_score(trial, rung, records) or evaluator.untrained(trial.allocation, chosen.method, chosen.recipe)
            else:
                if network is None:
                    chosen = choose()
                    network = evaluator.begin(trial.allocation, chosen.method)
                curve += evaluator.train(
                    network,
                    chosen.method,
                    with_epochs(chosen.recipe, rung.epochs),
                    seed=seed,
                    on_step=partial(_tell_step, tell, f"trial {trial.number} {rung.name}"),
                    checkpoint=partway.training(rung.name),
                )
                score = evaluator.score(network)
            if not math.isfinite(score.loss):
                raise TrainingDiverged(f"the validation loss is {score.loss} at rung '{rung.name}'")
            scores[rung.name] = score
            if network is not None:
                partway.keep(partial(_state, scores, curve, network))
    except (TrainingDiverged, ModelError) as error:
        return record(params=chosen.params, status="failed", note=str(error))
    return record(params=chosen.params if curve else {}, curve=tuple(curve))


def _state(scores: Mapping[str, Score], curve: Sequence[dict[str, float]], network: Network) -> RungState:
    return RungState(scores=dict(scores), curve=list(curve), model=network.model.state_dict())


def _goes_on(problem: Problem, rung: Rung, record: Record, records: Sequence[Record], searcher: Searcher | None) -> bool:
    if searcher is None or len(record.scores) > 1:
        return goes_on_by_score(record, records, rung.keep, problem.budgets)
    return goes_on(record, records, rung.keep, searcher)


def _known_score(trial: Trial, rung: Rung, records: Sequence[Record]) -> Score | None:
    """Score of the same allocation at a rung without training, from an earlier trial; it does not depend on searched hyperparameters."""
    return next((r.scores[rung.name] for r in records if r.allocation == trial.allocation and rung.name in r.scores), None)


def _tell_step(tell: Callable[[str], None], what: str, done: int, total: int) -> None:
    tell(f"{what} {done}/{total}")
