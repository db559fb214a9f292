"""Signals that combine others: the other tables are fitted to measured losses of a few random allocations near the budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mpsearch.allocate.random_allocations import random_allocations
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import BudgetError, DataError, ModelError, TrainingDiverged
from mpsearch.core.progress import Progress
from mpsearch.core.table import Table
from mpsearch.signals import compute_signal
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["MeasuredAllocation", "combined"]


@dataclass(frozen=True, kw_only=True)
class MeasuredAllocation:
    """A random allocation and its measured loss.

    Args:
        allocation: one choice for every layer.
        loss: nats; NaN if its training diverged.
        seconds: wall time of the measurement.
    """

    allocation: Allocation
    loss: float
    seconds: float

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> MeasuredAllocation:
        """Inverse of `to_dict`."""
        return cls(**{**document, "allocation": Allocation.from_dict(document["allocation"])})


def combined(
    name: str,
    config: StudyConfig,
    problem: Problem,
    tables: Sequence[Table],
    measured: dict[Allocation, MeasuredAllocation],
    keep: Callable[[], None],
    progress: Progress,
) -> list[Table]:
    """The table of a combining signal, in a list; an empty list, and a line with the reason, if signals or measurements do not allow one.

    After calibration, with BatchNorm re-estimated, an allocation's loss is its divergence from the float network on the training images
    that the signals are computed on: neither labels nor validation data are read. After `signals.mixed_epochs` of training, which has seen
    those images, it is the validation loss, as in trials.

    Args:
        name: of the signal.
        config: the study.
        problem: search problem; the allocations are near its budgets.
        tables: the signals to combine.
        measured: measurements of an interrupted run; new ones are added.
        keep: called after each measurement.
        progress: gets a bar and that line.
    """
    signals = config.signals
    if len(tables) < 2:
        only = ", ".join(table.name for table in tables) or "none"
        progress.say(f"no {name}: it combines at least two signals, and signals.names has only {only}; name one more")
        return []
    inputs = replace(problem.signal_inputs(signals.images, signals.batch_size), tables=tables)
    default = search_settings(config).default
    try:
        allocations = random_allocations(problem.space, problem.costs, problem.budgets, signals.mixed_on, problem.seed)
        evaluator = Evaluator(problem, Compiler("off", problem.device, 0))
        with progress.phase(f"signal {name}: measuring allocations", len(allocations)) as bar:
            for done, allocation in enumerate(allocations):
                bar.update(done)
                if allocation not in measured:
                    measured[allocation] = _measured(evaluator, allocation, config, default)
                    keep()
            bar.update(len(allocations))
        fitted = [measured[allocation] for allocation in allocations]
        pairs = [(each.allocation, each.loss) for each in fitted if math.isfinite(each.loss)]
        table = compute_signal(name, replace(inputs, measured=pairs))
    except (BudgetError, DataError) as error:
        progress.say(f"no {name}, the other signals are used without it: {error}")
        return []
    forwards, backwards = (len(allocations) * images / inputs.images for images in _images(config, problem, default))
    spent = {
        "seconds": table.cost["seconds"] + sum(each.seconds for each in fitted),
        "forwards": table.cost["forwards"] + forwards,
        "backwards": table.cost["backwards"] + backwards,
        "images": float(inputs.images),
    }
    return [replace(table, cost={**table.cost, **spent})]


def _images(config: StudyConfig, problem: Problem, default: Hyperparameters) -> tuple[int, int]:
    """(forward, backward): images that pass in one measurement, including those through the teacher."""
    signals, recipe = config.signals, default.recipe
    reestimated = min(recipe.reestimate, len(problem.train))
    if not signals.mixed_epochs:
        return reestimated + min(signals.images, len(problem.train)), 0
    trained = signals.mixed_epochs * len(problem.train)
    return trained * (2 if recipe.distill else 1) + reestimated + len(problem.validation), trained


def _measured(evaluator: Evaluator, allocation: Allocation, config: StudyConfig, default: Hyperparameters) -> MeasuredAllocation:
    started = time.monotonic()
    loss = _loss(evaluator, allocation, config, default)
    return MeasuredAllocation(allocation=allocation, loss=loss, seconds=time.monotonic() - started)


def _loss(evaluator: Evaluator, allocation: Allocation, config: StudyConfig, default: Hyperparameters) -> float:
    signals = config.signals
    network = evaluator.begin(allocation, default.method)
    if not signals.mixed_epochs:
        evaluator.calibrate(network, default.method, default.recipe)
        return evaluator.divergence(network, signals.images)
    try:
        evaluator.train(network, default.method, with_epochs(default.recipe, signals.mixed_epochs), seed=evaluator.problem.seed + 1)
        return evaluator.score(network).loss
    except (TrainingDiverged, ModelError):
        return math.nan
