"""All allocations of a network, evaluated in tree order: what a prefix of stages computes is computed once.

Both halves of an untrained evaluation run stage by stage. Re-estimating BatchNorm passes a training batch on, normalised by its own
statistics; scoring passes validation images through the finished stage. Neither looks ahead, so allocations that agree in their first
stages share the activations there, and a leaf costs about one stage. The numbers are those of `Evaluator.ptq` and of `Supernet.score`;
`tests/benchmarks` compares them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.tabular.levels import Activations, Level, float_levels, shared_levels
from benchmarks.tabular.truth import Picks
from mpsearch.methods.base import Method
from mpsearch.network.inputs import to_device
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import Supernet
from mpsearch.trials.problem import Problem

__all__ = ["Tree"]

_BATCH = 256
"""As `reestimate_batchnorm` and `evaluate` take them."""
_SHARED_BATCH = 64
"""As `Supernet` takes them."""


class Tree:
    """Scores of all allocations with one choice a tie group.

    Args:
        problem: its groups are runs of blocks.
        levels: one a group.
        images: training images that BatchNorm is re-estimated on.
        augment: whether they are augmented.
        batch: images a pass.
    """

    def __init__(self, problem: Problem, levels: Sequence[Level], *, images: int, augment: bool, batch: int) -> None:
        self._problem = problem
        self._levels = list(levels)
        self.menus = [problem.space.menus[group[0]] for group in problem.space.groups]
        self.images = min(images, len(problem.train))
        taken = problem.train.take(self.images, problem.seed)
        training = taken.batches(batch, seed=problem.seed, augment=augment)
        validation = list(problem.validation.batches(batch))
        self._targets = [targets.to(problem.device) for _, targets in validation]
        self._inputs = Activations(
            [to_device(inputs, problem.device) for inputs, _ in training], [to_device(inputs, problem.device) for inputs, _ in validation]
        )

    @classmethod
    def untrained(cls, problem: Problem, method: Method, recipe: Recipe) -> Tree:
        """Calibration without training; see `float_levels` for what is refused."""
        return cls(problem, float_levels(problem, method), images=recipe.reestimate, augment=recipe.augment, batch=_BATCH)

    @classmethod
    def shared(cls, problem: Problem, supernet: Supernet) -> Tree:
        """Weights of a trained and frozen supernet."""
        settings = supernet.settings
        return cls(problem, shared_levels(problem, supernet), images=settings.images, augment=settings.recipe.augment, batch=_SHARED_BATCH)

    def prefixes(self, depth: int) -> list[Picks]:
        """All picks of the first `depth` groups, in table order."""
        return list(itertools.product(*(range(len(menu)) for menu in self.menus[:depth])))

    @torch.no_grad()
    def scores(self, prefixes: Sequence[Picks]) -> Iterator[tuple[Picks, list[float], list[float]]]:
        """(prefix, losses in nats, error rates) of all leaves under each prefix, leaves in table order."""
        kept: list[tuple[int, Activations]] = []
        for prefix in prefixes:
            shared = next((i for i, (known, pick) in enumerate(zip(kept, prefix, strict=False)) if known[0] != pick), len(kept))
            del kept[shared:]
            for level, pick in zip(self._levels[shared : len(prefix)], prefix[shared:], strict=True):
                inputs = kept[-1][1] if kept else self._inputs
                kept.append((pick, level.run(self.menus[len(kept)][pick], inputs)))
            leaves = list(self._below(len(prefix), kept[-1][1] if kept else self._inputs))
            yield prefix, [loss for loss, _ in leaves], [error for _, error in leaves]

    def _below(self, depth: int, inputs: Activations) -> Iterator[tuple[float, float]]:
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
        meter = task.meter()
        for output, targets in pairs:
            meter.add(output, targets)
        return loss / samples, task.error(meter.value())
