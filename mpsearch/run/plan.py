"""`plan`: what a study will do and how long that will take, from a few timed passes; nothing is searched, trained or written."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

import torch

from mpsearch.card.variants import CALIBRATED, SCORED
from mpsearch.core.budget import ranged
from mpsearch.core.plan import Plan, PlannedPhase
from mpsearch.core.progress import Progress
from mpsearch.methods.base import Method
from mpsearch.network.batchnorm import running_norms
from mpsearch.network.inputs import batch_size, call, to_device
from mpsearch.run.setup import Setup, build_setup
from mpsearch.signals import SIGNALS
from mpsearch.study.settings import search_settings, trains
from mpsearch.training.compiled import Compiler
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.uniform import uniform_candidates

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["plan", "retraining_seconds"]

_TIMED_STEPS = 3
_FLIPS = 8
_STARTS_WITHIN = 0.5
"""Share of a pass that `measured` computes on average, since each pass starts at the changed layer."""


@dataclass(frozen=True, kw_only=True)
class _Pace:
    """Seconds on this machine.

    Args:
        forward: a sample through the float network in evaluation mode.
        backward: a sample's gradient.
        float_step: a sample in a training step of the float network.
        step: a sample in a training step of the quantized network, with the float network it learns from.
        score: making the numbers of a quantized network, besides the passes.
        calibration: what the method does to calibrate one allocation; 0 for most methods.
    """

    forward: float
    backward: float
    float_step: float
    step: float
    score: float
    calibration: float


def plan(config: StudyConfig, progress: Progress) -> Plan:
    """The phases of a study with the passes and seconds that are expected.

    The float network is not trained: passes take as long through one that is not.

    Args:
        config: the study.
        progress: gets a bar for the timing.

    Raises:
        BudgetError: a budget is unreachable.
        ModelError: the network cannot be trained.
    """
    setup = build_setup(config, progress, train_float=False)
    problem, default = setup.problem, search_settings(config).default
    with progress.phase("timing", 1) as bar:
        pace = _pace(setup, default, trained=trains(config))
        bar.update(1)
    parts = (_float_network, _signals, _trials, _end)
    phases = [phase for part in parts for phase in part(config, setup, pace)]
    based_on = [
        f"timed now on {problem.device}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}: "
        f"{1e3 * pace.forward:.2g} ms a sample forward, {1e3 * pace.step:.2g} ms in a training step of {default.recipe.batch_size}",
        "trials are promoted in the shares of the rungs; that training may be compiled is not counted",
    ]
    if pace.calibration:
        name = next(iter(config.methods))
        based_on.append(f"{name} improves the calibration of each allocation: {pace.calibration:.2g} s here, where lsq takes none")
    return Plan(phases=tuple(phases), based_on=tuple(based_on))


def retraining_seconds(config: StudyConfig, setup: Setup, step: float | None = None) -> float:
    """Seconds that retraining the winner and its references will take; 0 without retraining.

    Args:
        config: the study.
        setup: network and data.
        step: seconds of a sample in a training step, its share of scoring included; timed if not given.
    """
    if not config.retrain.epochs:
        return 0.0
    if step is None:
        pace = _pace(setup, search_settings(config).default, trained=True)
    else:
        pace = _Pace(forward=0.0, backward=0.0, float_step=0.0, step=step, score=0.0, calibration=0.0)
    return next(phase.seconds for phase in _end(config, setup, pace) if phase.name == "retraining")


def _float_network(config: StudyConfig, setup: Setup, pace: _Pace) -> Iterator[PlannedPhase]:
    recipe, samples = config.float_recipe, len(setup.splits.train)
    if recipe is not None and config.model.weights_path is None:
        epochs = recipe.build().epochs
        passed = epochs * samples
        yield PlannedPhase(
            name="float network",
            what=f"{epochs} epochs of {samples:,} samples, unless it is in the cache",
            forwards=passed,
            backwards=passed,
            seconds=passed * pace.float_step,
        )


def _signals(config: StudyConfig, setup: Setup, pace: _Pace) -> Iterator[PlannedPhase]:
    problem, settings = setup.problem, config.signals
    images = min(settings.images, len(problem.train))
    batches = math.ceil(images / settings.batch_size)
    for name in config.signals.names:
        forwards, backwards = SIGNALS[name].passes(problem.space, batches)
        what, extra = f"on {images:,} samples", 0.0
        if SIGNALS[name].combines:
            measured = _scored(config, setup, images) + settings.mixed_epochs * len(problem.train)
            what, extra = f"{settings.mixed_on} random allocations", settings.mixed_on * (pace.score + pace.calibration)
            forwards = settings.mixed_on * measured / images
            backwards = settings.mixed_on * settings.mixed_epochs * len(problem.train) / images
        share = _STARTS_WITHIN if name == "measured" else 1.0
        seconds = images * (share * forwards * pace.forward + backwards * pace.backward) + extra
        yield PlannedPhase(name=f"signal {name}", what=what, forwards=forwards * images, backwards=backwards * images, seconds=seconds)


def _trials(config: StudyConfig, setup: Setup, pace: _Pace) -> Iterator[PlannedPhase]:
    search, problem = config.search, setup.problem
    samples, validation = len(problem.train), len(problem.validation)
    if search.evaluate == "supernet":
        epochs, allocations = search.supernet.epochs, 2 + search.supernet.draws
        passed = epochs * samples * allocations
        what = f"{epochs} epochs, {allocations} allocations a step"
        yield PlannedPhase(name="supernet", what=what, forwards=passed, backwards=passed, seconds=passed * pace.step)
    rungs = search.climbed
    reached = [math.ceil(search.trials * share) for share in accumulate((rung.keep for rung in rungs), mul)]
    steps = sum(count * rung.epochs * samples for count, rung in zip(reached, rungs, strict=True))
    scored = sum(reached) * _scored(config, setup, validation)
    what = ", ".join(f"{count} x {rung.name}" for count, rung in zip(reached, rungs, strict=True))
    untrained = sum(count for count, rung in zip(reached, rungs, strict=True) if rung.epochs == 0)
    seconds = steps * pace.step + scored * pace.forward + sum(reached) * pace.score + untrained * pace.calibration
    forwards = steps * _networks_of_a_step(config) + scored
    yield PlannedPhase(name="study", what=what, forwards=forwards, backwards=steps, seconds=seconds)


def _end(config: StudyConfig, setup: Setup, pace: _Pace) -> Iterator[PlannedPhase]:
    problem, retrain = setup.problem, config.retrain
    samples, validation = len(problem.train), len(problem.validation)
    candidates = len(uniform_candidates(problem, search_settings(config).default.method)) if retrain.uniform else 0
    points = 0 if ranged(problem.budgets) is None else retrain.points - 1
    networks = 1 + points + bool(candidates) + (retrain.control and retrain.epochs > 0)
    steps = networks * retrain.epochs * samples
    scored = networks * (retrain.epochs * validation + _scored(config, setup, validation))
    if not retrain.include_validation:  # the delivered one is chosen by paired differences
        scored += (1 + bool(candidates)) * validation
    scores = networks * (retrain.epochs + 1)
    if candidates > 1:
        steps += _compared_epochs(config, candidates) * samples
        scored, scores = scored + candidates * _scored(config, setup, validation), scores + candidates
    control = bool(retrain.control and retrain.epochs)
    named = ", ".join(
        ["winner", *[f"{points} points of the front"] * bool(points), *["uniform"] * bool(candidates), *["float control"] * control]
    )
    what = f"{named}: {retrain.epochs} epochs each"
    seconds = steps * pace.step + scored * pace.forward + scores * pace.score + (networks + candidates) * pace.calibration
    forwards = steps * _networks_of_a_step(config) + scored
    yield PlannedPhase(name="retraining", what=what, forwards=forwards, backwards=steps, seconds=seconds)
    if setup.splits.test is not None:
        tested = (1 + networks) * len(setup.splits.test)
        what = f"{len(setup.splits.test):,} samples through {1 + networks} networks"
        yield PlannedPhase(name="test", what=what, forwards=tested, backwards=0, seconds=tested * pace.forward)
    flips = _FLIPS * _scored(config, setup, min(SCORED, validation), most=CALIBRATED)
    what = f"the delivered bits in at most {_FLIPS} other formats"
    yield PlannedPhase(name="card", what=what, forwards=flips, backwards=0, seconds=flips * pace.forward)


def _compared_epochs(config: StudyConfig, candidates: int) -> int:
    """Epochs that the comparison of uniform candidates takes, besides the whole training of the best."""
    if config.retrain.epochs > 1 and not config.retrain.include_validation:
        return (candidates - 1) * math.ceil(config.retrain.epochs / 2)
    return candidates * next((rung.epochs for rung in config.search.climbed if rung.epochs), 0)


def _networks_of_a_step(config: StudyConfig) -> int:
    """Networks that a sample passes in a training step: with distillation, the float network too."""
    return 2 if search_settings(config).default.recipe.distill else 1


def _scored(config: StudyConfig, setup: Setup, samples: int, *, most: float = math.inf) -> int:
    """Samples that pass for one score: those scored, and those, `most` at most, on which BatchNorm is re-estimated."""
    if not running_norms(setup.problem.model):
        return samples
    return samples + int(min(search_settings(config).default.recipe.reestimate, len(setup.problem.train), most))


def _pace(setup: Setup, default: Hyperparameters, *, trained: bool) -> _Pace:
    """Time a few passes; after a first one of each kind, which prepares memory."""
    problem = setup.problem
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    recipe = with_epochs(default.recipe, 1)
    count = min(recipe.batch_size, len(problem.train))
    few = problem.train.take(min(count * (1 + _TIMED_STEPS), len(problem.train)), problem.seed)
    inputs, targets = next(iter(few.batches(count)))
    inputs, targets = to_device(inputs, problem.device), to_device(targets, problem.device)
    samples = batch_size(inputs)
    with torch.no_grad():
        forward = _seconds(lambda: call(problem.model, inputs))
    model = copy.deepcopy(problem.model).requires_grad_(True)
    both = _seconds(lambda: problem.task.loss(call(model, inputs), targets).backward())  # type: ignore[no-untyped-call]
    allocation = problem.space.uniform(problem.space.choices[-1])
    network = evaluator.begin(allocation, default.method)
    calibration = 0.0
    if type(default.method).calibrate is not Method.calibrate:
        calibration = _timed(lambda: evaluator.calibrate(network, default.method, recipe))
    score = _seconds(lambda: evaluator.score(network, few.take(1, problem.seed)))
    float_step = step = both / samples
    if trained:
        recipe = replace(recipe, reestimate=0)

        def steps() -> None:
            evaluator.train(network, default.method, recipe, seed=0, split=few)

        step = _seconds(steps) / len(few)
    return _Pace(
        forward=forward / samples,
        backward=max(both - forward, forward) / samples,
        float_step=float_step,
        step=step,
        score=score,
        calibration=calibration,
    )


def _seconds(action: Callable[[], object]) -> float:
    """The faster of two runs after a first."""
    action()
    return min(_timed(action) for _ in range(2))


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
