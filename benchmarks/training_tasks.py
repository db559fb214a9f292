"""What the training benchmarks share: two tasks, and the training of one method at given bits, scored once on the test split.

| task | study | data | epochs |
|---|---|---|---|
| `digits` | digits_resnet18 | 1,078 images, cut by the seed; 449 of test; a float network a seed, trained as the study says | 2 |
| `cifar` | cifar10_resnet20 | a fixed 10,000 of the training images; all 10,000 of test; float weights from a file | 3 |

Every method has its registered defaults and the study's recipe, SGD with a cosine from a learning rate of 0.02, distilled from the float
network. Nothing is chosen by validation, no epoch is picked: what stands at the end is scored.

The first and the last layer have 8 bits, weights and (where activations are quantized) inputs, as in most papers; the rest has the bits
asked for.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mpsearch.config import load_study
from mpsearch.config.study import StudyConfig
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.progress import Silent
from mpsearch.data import load_data
from mpsearch.methods.base import Method
from mpsearch.models import build_model
from mpsearch.network.inputs import to_device
from mpsearch.run.setup import Setup, assemble
from mpsearch.signals import SignalInputs
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem

__all__ = ["TASKS", "Ground", "Place", "Task", "ends_at_eight", "prepare", "signal_inputs", "train_alike"]

END_BITS = 8
LR = 0.02


@dataclass(frozen=True, kw_only=True)
class Task:
    """Where methods are compared.

    Args:
        study: gives data, model and recipe.
        epochs: of training.
        images: training images, the same for every seed; None for all, cut by the seed.
        bits: of weights.
        act_bits: of activations.
        seeds: how many, unless told.
    """

    study: str
    epochs: int
    images: int | None
    bits: tuple[int, ...]
    act_bits: tuple[int, ...]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a task's files lie, if it needs any: the folder of images, the float weights."""

    data: Path | None = None
    weights: Path | None = None


TASKS = {
    "digits": Task(study="digits_resnet18", epochs=2, images=None, bits=(2, 1, 4, 3), act_bits=(FLOAT_BITS, 4), seeds=3),
    "cifar": Task(study="cifar10_resnet20", epochs=3, images=10_000, bits=(2, 1, 4), act_bits=(FLOAT_BITS,), seeds=1),
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all methods start from.

    Args:
        config: the study.
        setup: data, float network, ranges.
        float_metric: test metric of the float network.
    """

    config: StudyConfig
    setup: Setup
    float_metric: float


@lru_cache(maxsize=3)
def prepare(task: Task, place: Place, seed: int, *, quantized_inputs: bool) -> Ground:
    """Build a task for a seed; activations are on the menu only where they are needed, since their hooks cost time."""
    changes: dict[str, Any] = {
        "seed": seed,
        "recipe.lr": LR,
        "space": {"name": "benchmark", "weights": list(range(1, 9)), "activations": [4, END_BITS] if quantized_inputs else ["float"]},
    }
    if place.data is not None:
        changes["data.path"] = str(place.data)
    if place.weights is not None:
        changes["model.weights"] = str(place.weights)
    if task.images is not None:
        changes["data.options.images"] = task.images
    config = load_study(task.study, changes)
    splits = load_data(config.data.reference, seed=seed if task.images is None else 0, **config.data.options)
    model = build_model(config.model.factory, config.model.options, weights=config.model.weights_path)
    setup = assemble(config, splits, model, Silent(), check_limits=False)
    assert splits.test is not None
    score = evaluate(setup.problem.model, splits.test, splits.task, device=setup.problem.device)
    return Ground(config=config, setup=setup, float_metric=score.metric)


def ends_at_eight(problem: Problem, weight_bits: int, act_bits: int) -> Allocation:
    """The bits everywhere but at the first and last layer."""
    names = problem.space.names
    ends = Choice(END_BITS, FLOAT_BITS if act_bits == FLOAT_BITS else END_BITS)
    return Allocation({name: ends if name in (names[0], names[-1]) else Choice(weight_bits, act_bits) for name in names})


def train_alike(ground: Ground, allocation: Allocation, method: Method, *, epochs: int, calibrated: bool = False) -> dict[str, Any]:
    """Calibrate, train, score once on the test split; returns what a row of results needs, with the mean weight bits if they are learned.

    Args:
        ground: of `prepare`.
        allocation: bits.
        method: trained, and writes the file whose bytes are counted.
        epochs: of training.
        calibrated: whether the test split is read before training as well, to report what calibration alone gives.
    """
    problem, test = ground.setup.problem, ground.setup.splits.test
    assert test is not None
    recipe = with_epochs(ground.config.recipe.build(), epochs)
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    began = time.monotonic(), time.process_time()
    network = evaluator.begin(allocation, method)
    after_calibration = evaluator.ptq(network, method, recipe)
    found: dict[str, Any] = {"calibrated": {"validation": after_calibration.metric}}
    if calibrated:
        found["calibrated"]["test"] = evaluator.score(network, test).metric
    curve = evaluator.train(network, method, recipe, seed=problem.seed + 1)
    score = evaluator.score(network, test)
    learned = method.learned_bits(network)
    if learned is not None:
        layers = problem.space.layers
        found["learned_bits"] = sum(layer.weights * learned[layer.name] for layer in layers) / sum(layer.weights for layer in layers)
    return found | {
        "metric": score.metric,
        "loss": score.loss,
        "curve": [round(epoch["loss"], 5) for epoch in curve],
        "size_bytes": int(problem.amounts(allocation, method)["size"]),
        "mean_weight_bits": allocation.mean_weight_bits(problem.space.layers),
        "recipe": asdict(replace(recipe, epochs=epochs)),
        "seconds": time.monotonic() - began[0],
        "cpu_seconds": time.process_time() - began[1],
    }


def signal_inputs(problem: Problem, config: StudyConfig) -> SignalInputs:
    """What signals are computed from, with as many images as the study says."""
    images = problem.train.take(min(config.signals.images, len(problem.train)), problem.seed)
    batches = [(to_device(x, problem.device), y.to(problem.device)) for x, y in images.batches(config.signals.batch_size)]
    return SignalInputs(
        model=problem.model, space=problem.space, calibration=problem.calibration, batches=batches, task=problem.task, seed=problem.seed
    )
