"""`Evaluator`: trains and scores allocations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from mpsearch.core.allocation import Allocation
from mpsearch.core.pass_counts import phase
from mpsearch.core.record import Score
from mpsearch.core.statistics import CORRECTED
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts, evaluated, install
from mpsearch.network.inputs import call, concatenated, lay_out, to_device
from mpsearch.network.modes import evaluating
from mpsearch.network.network import Network
from mpsearch.network.state import sharing_copy
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.compiled import Compiler
from mpsearch.training.dry_run import PHASE, by_loss, dry_run
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe
from mpsearch.trials.problem import Problem
from mpsearch.trials.statistics import CORRECTION_IMAGES, Corrector, update_statistics

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["CALIBRATION_IMAGES", "Evaluator", "with_epochs"]

CALIBRATION_IMAGES = 512
"""Maximum number of training images for a method's `calibrate`."""
RANKING_IMAGES = 512
"""Maximum number of training images on which BatchNorm is re-estimated where trials are only compared: `benchmarks/reestimation.py`."""


class Evaluator:
    """Trains and scores allocations; the network of the last method is reused.

    Args:
        problem: the search problem.
        compiler: compiles training steps, if it pays off.
    """

    def __init__(self, problem: Problem, compiler: Compiler) -> None:
        self.problem = problem
        self._compiler = compiler
        self._networks: dict[str, Network] = {}
        self._inputs: dict[int, list[Any]] = {}
        self._outputs: dict[int, list[Any]] = {}
        self._corrector: tuple[Network, Corrector] | None = None

    def begin(self, allocation: Allocation, method: Method) -> Network:
        """The float network with calibrated quantizers at `allocation`."""
        key = repr(method)
        if key not in self._networks:
            problem = self.problem
            self._networks.clear()  # before the next one is made
            shares = _keeps_weights(method)
            network = Network(problem.model, problem.space, problem.calibration, method, shares=shares)
            if not shares:
                lay_out(network.model, problem.execution.memory_format)
            self._networks[key] = network
        network = self._networks[key]
        network.begin(allocation)
        return network

    def _own(self, network: Network) -> None:
        """Give the network weights of its own in the memory layout of training, if it has none."""
        if network.shares:
            network.own_weights()
            lay_out(network.model, self.problem.execution.memory_format)

    def ptq(self, network: Network, method: Method, recipe: Recipe) -> Score:
        """Let the method improve its calibration, let BatchNorm follow, and score."""
        self.calibrate(network, method, recipe)
        return self.score(network)

    def calibrate(self, network: Network, method: Method, recipe: Recipe) -> None:
        """Let the method improve its calibration, and let BatchNorm's statistics follow as the problem says."""
        network.model.eval()
        with torch.no_grad():
            method.calibrate(network, self._divergence(network, CALIBRATION_IMAGES))
            if not method.compensates:
                update_statistics(network.model, self.problem.statistics, self.problem, recipe, self._corrector_of(network))

    def _corrector_of(self, network: Network) -> Corrector | None:
        if self.problem.statistics != CORRECTED:
            return None
        if self._corrector is None or self._corrector[0] is not network:
            images = concatenated(self._drawn(CORRECTION_IMAGES, 0), CORRECTION_IMAGES)
            self._corrector = network, Corrector(network.architecture, network.model, images)
        return self._corrector[1]

    def untrained(self, allocation: Allocation, method: Method, recipe: Recipe) -> Score:
        """Score of an allocation without training, as at the first rung; BatchNorm is re-estimated on at most `RANKING_IMAGES`."""
        return self.ptq(self.begin(allocation, method), method, replace(recipe, reestimate=min(recipe.reestimate, RANKING_IMAGES)))

    def train(
        self,
        network: Network,
        method: Method,
        recipe: Recipe,
        *,
        seed: int,
        split: Split | None = None,
        on_step: Callable[[int, int], None] = lambda done, total: None,
        on_epoch: Callable[[int], dict[str, float]] = lambda epoch: {},
        on_point: Callable[[dict[str, float]], None] = lambda point: None,
        checkpoint: Checkpoint | None = None,
        until: int | None = None,
    ) -> list[dict[str, float]]:
        """Train the network from its present state; returns the curve. `until`: see `training.loop.train`.

        Raises:
            TrainingDiverged: the loss is NaN or infinite.
        """
        self._own(network)
        hooks = replace(Hooks.of(method, network), on_step=on_step, on_epoch=on_epoch, on_point=on_point)
        split = self.problem.train if split is None else split
        return train(
            network.model,
            network.quantizer_parameters(),
            split,
            self.problem.task,
            recipe,
            device=self.problem.device,
            seed=seed,
            teacher=self.teacher,
            hooks=hooks,
            checkpoint=checkpoint,
            until=until,
            compiled=self._compiler.compiled(network.model, recipe.epochs * split.steps(recipe.batch_size)) if method.compilable else None,
            execution=self.problem.execution,
        )

    @phase(PHASE)
    def dry_run(self, allocation: Allocation, method: Method, recipe: Recipe) -> None:
        """Train the network at an allocation on two small batches and evaluate it; what it cannot do shows here.

        Raises:
            ModelError: a step failed.
        """
        problem = self.problem
        network = self.begin(allocation, method)
        self._own(network)
        with torch.random.fork_rng(devices=[problem.device] if problem.device.type == "cuda" else []):
            dry_run(
                network.model,
                network.quantizer_parameters(),
                problem.train,
                problem.task,
                recipe,
                device=problem.device,
                seed=problem.seed,
                execution=problem.execution,
                score=lambda few: evaluate(evaluated(network), few, by_loss(problem.task), device=problem.device),
                teacher=self.teacher,
                hooks=Hooks.of(method, network),
            )
        self._networks.clear()

    def control(
        self,
        recipe: Recipe,
        *,
        seed: int,
        split: Split,
        on_step: Callable[[int, int], None],
        on_point: Callable[[dict[str, float]], None] = lambda point: None,
        checkpoint: Checkpoint,
    ) -> tuple[nn.Module, list[dict[str, float]]]:
        """Train the float network with the same recipe, distilled from its initial state; returns (network, curve)."""
        model = lay_out(copy.deepcopy(self.problem.model).requires_grad_(True), self.problem.execution.memory_format)
        curve = train(
            model,
            [],
            split,
            self.problem.task,
            recipe,
            device=self.problem.device,
            seed=seed,
            teacher=self.teacher,
            hooks=Hooks(on_step=on_step, on_point=on_point),
            checkpoint=checkpoint,
            execution=self.problem.execution,
        )
        return lay_out(model, torch.contiguous_format), curve

    def score(self, network: Network, split: Split | None = None) -> Score:
        """Score of the baked network, as an artifact would store it; on the validation split by default."""
        return self._score(evaluated(network), split)

    def score_parts(self, parts: Parts, split: Split | None = None) -> Score:
        """Score of baked numbers."""
        return self._score(install(self.problem.model, self.problem.space.layers, parts), split)

    def _score(self, model: nn.Module, split: Split | None) -> Score:
        problem = self.problem
        data = problem.validation if split is None else split
        return evaluate(model, data, problem.task, device=problem.device, batch=problem.execution.batch)

    @torch.no_grad()
    def divergence(self, network: Network, images: int) -> float:
        """Mean divergence from the float network, nats, on `images` fixed, unaugmented training images; `mix` is fitted to it."""
        return self._divergence(network, images)()

    def _divergence(self, network: Network, images: int) -> _Divergence:
        """The divergence as a callable, for calibration without training. Neither labels nor other splits are read."""
        if images not in self._inputs:
            self._inputs[images] = self._drawn(images, 0)
        return _Divergence(network.model, self._inputs[images], partial(self._reference, images), self._drawn, self.problem.task)

    def _drawn(self, images: int, views: int) -> list[Any]:
        problem = self.problem
        taken = problem.train.take(min(images, len(problem.train)), problem.seed)
        size = problem.execution.batch
        passes = [taken.batches(size), *(taken.batches(size, augment=True, seed=problem.seed + view) for view in range(views))]
        return [
            to_device(inputs, problem.device, memory_format=problem.execution.memory_format) for batches in passes for inputs, _ in batches
        ]

    def _reference(self, images: int) -> list[Any]:
        if images not in self._outputs:
            self._outputs[images] = [call(self.teacher, inputs) for inputs in self._inputs[images]]
        return self._outputs[images]

    @cached_property
    def teacher(self) -> nn.Module:
        """The float network in the memory layout of training."""
        return lay_out(evaluating(sharing_copy(self.problem.model)).requires_grad_(False), self.problem.execution.memory_format)


@dataclass(frozen=True)
class _Divergence:
    """A network's mean divergence from the float network (`methods.base.CalibrationLoss`).

    Args:
        model: quantized.
        inputs: by batch.
        reference: returns the float outputs by batch; called only if the loss is.
        drawn: returns further images.
        task: has the divergence.
    """

    model: nn.Module
    inputs: list[Any]
    reference: Callable[[], list[Any]]
    drawn: Callable[[int, int], list[Any]]
    task: Task

    def __call__(self) -> float:
        with parametrize.cached():
            pairs = zip(self.reference(), self.inputs, strict=True)
            apart = [self.task.divergence(outputs, call(self.model, inputs)) for outputs, inputs in pairs]
        return float(torch.cat(apart).mean())


def _keeps_weights(method: Method) -> bool:
    """Whether nothing writes to float weights before the first training step."""
    return type(method).begin is Method.begin and type(method).calibrate is Method.calibrate


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The same recipe with other epochs."""
    return replace(recipe, epochs=epochs)
