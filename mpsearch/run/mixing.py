"""Signals made of other signals: measure a few random allocations near the budgets, so that `mix` can weigh the tables by them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpsearch.allocate.random_allocations import random_allocations
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import BudgetError, DataError, ModelError, TrainingDiverged
from mpsearch.core.files import write_text
from mpsearch.core.progress import Progress
from mpsearch.core.table import Table
from mpsearch.network.inputs import to_device
from mpsearch.run.experiment import Experiment
from mpsearch.signals import SIGNALS, SignalInputs, compute_signal
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs

__all__ = ["combined", "heard", "plain_and_combining"]


def plain_and_combining(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(signals that stand by themselves, signals made of those)."""
    return [name for name in names if not SIGNALS[name].combines], [name for name in names if SIGNALS[name].combines]


def heard(tables: Sequence[Table]) -> list[Table]:
    """What a search listens to: a signal made of the others in their place, since those were weighed by what was measured."""
    _, combining = plain_and_combining([table.name for table in tables])
    return [table for table in tables if table.name in combining] or list(tables)


def combined(name: str, experiment: Experiment, tables: Sequence[Table], file: Path | None, progress: Progress) -> list[Table]:
    """The combining signal's table alone, or nothing, and a line that says why, where signals or measurements do not allow one.

    What is measured after calibration, with BatchNorm re-estimated, is the divergence from the float network on the training images that
    the signals are computed on: neither labels nor validation are read. After `signals.mixed_epochs` of training, which has seen those
    images, it is the validation loss, as in trials.

    Args:
        name: of the signal.
        experiment: whose budgets the allocations lie near.
        tables: the signals to combine.
        file: keeps every measurement as soon as it is there, so that an interrupted run goes on; None keeps nothing.
        progress: gets a bar and the line.
    """
    problem, signals = experiment.problem, experiment.config.signals
    if len(tables) < 2:
        only = ", ".join(table.name for table in tables) or "none"
        progress.say(f"no {name}: it weighs signals against each other, and signals.names has only {only}; name one more")
        return []
    train = problem.train.take(min(signals.images, len(problem.train)), problem.seed)
    inputs = SignalInputs(
        model=problem.model,
        space=problem.space,
        calibration=problem.calibration,
        batches=[(to_device(inputs, problem.device), targets) for inputs, targets in train.batches(signals.batch_size)],
        task=problem.task,
        seed=problem.seed,
        tables=tables,
    )
    try:
        allocations = random_allocations(problem.space, problem.costs, problem.budgets, signals.mixed_on, problem.seed)
        losses, seconds = _measured(name, experiment, allocations, file, progress)
        pairs = [(allocation, loss) for allocation, loss in zip(allocations, losses, strict=True) if math.isfinite(loss)]
        table = compute_signal(name, replace(inputs, measured=pairs))
    except (BudgetError, DataError) as error:
        progress.say(f"no {name}, the other signals go on without it: {error}")
        return []
    forwards, backwards = (len(allocations) * images / len(train) for images in _images(experiment))
    spent = {
        "seconds": table.cost["seconds"] + seconds,
        "forwards": table.cost["forwards"] + forwards,
        "backwards": table.cost["backwards"] + backwards,
        "images": float(len(train)),
    }
    return [replace(table, cost={**table.cost, **spent})]


def _images(experiment: Experiment) -> tuple[int, int]:
    """(forward, backward): images that one measurement passes, a teacher's passes among them."""
    problem, signals, recipe = experiment.problem, experiment.config.signals, search_settings(experiment.config).default.recipe
    reestimated = min(recipe.reestimate, len(problem.train))
    if not signals.mixed_epochs:
        return reestimated + min(signals.images, len(problem.train)), 0
    trained = signals.mixed_epochs * len(problem.train)
    return trained * (2 if recipe.distill else 1) + reestimated + len(problem.validation), trained


def _measured(
    name: str, experiment: Experiment, allocations: Sequence[Allocation], file: Path | None, progress: Progress
) -> tuple[list[float], float]:
    """(what each allocation loses in nats, NaN where its training did not stay finite; seconds all of them took)."""
    held: list[dict[str, Any]] = json.loads(file.read_text()) if file is not None and file.exists() else []
    known = {Allocation.from_dict(entry["bits"]): entry for entry in held}
    evaluator = Evaluator(experiment.problem, Compiler("off", experiment.problem.device, 0))
    with progress.phase(f"signal {name}: measuring allocations", len(allocations)) as bar:
        for done, allocation in enumerate(allocations):
            bar.update(done)
            if allocation in known:
                continue
            began = time.monotonic()
            loss = _loss(evaluator, allocation, experiment)
            known[allocation] = {"bits": allocation.to_dict(), "loss": loss, "seconds": time.monotonic() - began}
            if file is not None:
                write_text(file, json.dumps(list(known.values())))
        bar.update(len(allocations))
    entries = [known[allocation] for allocation in allocations]
    return [entry["loss"] for entry in entries], sum(entry["seconds"] for entry in entries)


def _loss(evaluator: Evaluator, allocation: Allocation, experiment: Experiment) -> float:
    signals, default = experiment.config.signals, search_settings(experiment.config).default
    network = evaluator.begin(allocation, default.method)
    if not signals.mixed_epochs:
        evaluator.calibrate(network, default.method, default.recipe)
        return evaluator.divergence(network, signals.images)
    try:
        evaluator.train(network, default.method, with_epochs(default.recipe, signals.mixed_epochs), seed=experiment.problem.seed + 1)
        return evaluator.score(network).loss
    except (TrainingDiverged, ModelError):
        return math.nan
