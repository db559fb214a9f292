"""All allocations of a network, evaluated in tree order: what a prefix of stages computes is computed once.

Both halves of an untrained evaluation run stage by stage. Re-estimating BatchNorm passes a training batch on, normalised by its own
statistics; scoring passes validation images through the baked stage. Neither looks ahead, so allocations that agree in their first stages
share the activations there, and a leaf costs about one stage. The numbers are those of `Evaluator.ptq`; `tests/benchmarks` compares them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.tabular.stages import cut, stage_space
from benchmarks.tabular.truth import Picks
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.engine.problem import Problem
from mpsearch.methods.base import Method
from mpsearch.models.resnet_cifar import CifarResNet
from mpsearch.network.baked import bake, install
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.inputs import to_device
from mpsearch.network.network import Network
from mpsearch.training.recipe import Recipe

__all__ = ["Tree"]

_BATCH = 256
"""As `settle` and `evaluate` take them."""


@dataclass(frozen=True)
class _Activations:
    """Batches on their way through the network: training images under re-estimation, validation images through baked stages."""

    calibration: list[Tensor]
    validation: list[Tensor]


@dataclass(frozen=True)
class _Level:
    """One stage under quantization."""

    stage: nn.Module
    space: ResolvedSpace
    network: Network

    def run(self, choice: Choice, inputs: _Activations) -> _Activations:
        """Set the bits, re-estimate, bake, and pass everything on."""
        self.network.begin(Allocation(dict.fromkeys(self.space.names, choice)))
        calibrated: list[Tensor] = []
        handle = self.network.model.register_forward_hook(lambda _module, _args, output: calibrated.append(output))
        try:
            reestimate(self.network.model, inputs.calibration)
        finally:
            handle.remove()
        baked = install(self.stage, self.space.layers, bake(self.network))
        return _Activations(calibrated, [baked(batch) for batch in inputs.validation])


class Tree:
    """Scores of all allocations with one choice a tie group.

    Args:
        problem: its network is a `CifarResNet` whose groups are runs of blocks.
        method: without calibration of its own.
        recipe: `reestimate` images as in every untrained evaluation.
    """

    def __init__(self, problem: Problem, method: Method, recipe: Recipe) -> None:
        if not isinstance(problem.model, CifarResNet):
            raise TypeError(f"stages are known for CifarResNet, not for {type(problem.model).__name__}")
        if type(method).calibrate is not Method.calibrate:
            raise ValueError("a method that calibrates the whole network cannot be tabulated stage by stage")
        self._problem = problem
        self.menus = [problem.space.menus[group[0]] for group in problem.space.groups]
        self._levels: list[_Level] = []
        for number, stage in enumerate(cut(problem.model, problem.space)):
            space = stage_space(problem.space, number)
            network = Network(stage, space, problem.calibration, method)
            network.model.to(memory_format=torch.channels_last)
            self._levels.append(_Level(stage, space, network))
        images = problem.train.take(min(recipe.reestimate, len(problem.train)), problem.seed)
        training = images.batches(_BATCH, seed=problem.seed, augment=recipe.augment)
        validation = list(problem.validation.batches(_BATCH))
        self._targets = [targets.to(problem.device) for _, targets in validation]
        self._inputs = _Activations(
            [to_device(inputs, problem.device) for inputs, _ in training], [to_device(inputs, problem.device) for inputs, _ in validation]
        )

    def prefixes(self, depth: int) -> list[Picks]:
        """All picks of the first `depth` groups, in table order."""
        return list(itertools.product(*(range(len(menu)) for menu in self.menus[:depth])))

    @torch.no_grad()
    def scores(self, prefixes: list[Picks]) -> Iterator[tuple[Picks, list[float], list[float]]]:
        """(prefix, losses in nats, error rates) of all leaves under each prefix, leaves in table order."""
        kept: list[tuple[int, _Activations]] = []
        for prefix in prefixes:
            shared = next((i for i, (known, pick) in enumerate(zip(kept, prefix, strict=False)) if known[0] != pick), len(kept))
            del kept[shared:]
            for level, pick in zip(self._levels[shared : len(prefix)], prefix[shared:], strict=True):
                inputs = kept[-1][1] if kept else self._inputs
                kept.append((pick, level.run(self.menus[len(kept)][pick], inputs)))
            leaves = list(self._below(len(prefix), kept[-1][1] if kept else self._inputs))
            yield prefix, [loss for loss, _ in leaves], [error for _, error in leaves]

    def _below(self, depth: int, inputs: _Activations) -> Iterator[tuple[float, float]]:
        if depth == len(self._levels):
            yield self._score(inputs.validation)
            return
        for choice in self.menus[depth]:
            yield from self._below(depth + 1, self._levels[depth].run(choice, inputs))

    def _score(self, outputs: list[Tensor]) -> tuple[float, float]:
        """As `evaluate` counts them."""
        task = self._problem.task
        samples = sum(len(targets) for targets in self._targets)
        pairs = list(zip(outputs, self._targets, strict=True))
        loss = sum(float(task.loss(output, targets)) * len(targets) for output, targets in pairs)
        metric = sum(float(task.per_sample(output, targets).double().sum()) for output, targets in pairs)
        return loss / samples, task.error(metric / samples)
