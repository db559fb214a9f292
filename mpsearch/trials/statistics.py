"""How the BatchNorm statistics of an untrained quantized network follow the quantization, and which way is best for a network and its data.

Re-estimation is right where the network was trained on such samples, augmented alike. A network that comes from elsewhere has statistics of
other samples; to replace them changes it more than quantization does. A correction by paired differences (`mpsearch.network.shifts`) leaves
a float network exactly as it is. Which is better can be measured: the divergence from the float network on training samples that none of
them has seen, at reference allocations. Training under quantization does not read this: it normalises by batches, so its weights belong to
re-estimated statistics, and where that ends above calibration alone, calibration is delivered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import tightness
from mpsearch.core.statistics import CORRECTED, KEPT, REESTIMATED, WAYS, StatisticsChoice
from mpsearch.methods.base import Method
from mpsearch.network.batchnorm import reestimate, running_norms
from mpsearch.network.inputs import batch_size, call, concatenated, to_device
from mpsearch.network.network import Network
from mpsearch.network.shifts import Shifts
from mpsearch.tasks.task import Task
from mpsearch.training.loop import reestimate_batchnorm
from mpsearch.training.recipe import Recipe

if TYPE_CHECKING:
    from mpsearch.trials.problem import Problem

__all__ = ["CORRECTION_IMAGES", "Corrector", "choose_statistics", "reference_allocations", "update_statistics"]

CORRECTION_IMAGES = 512
"""Maximum number of training images for the paired correction."""
_HELD_OUT = 512
_FEWEST = 16
"""Samples in the quarter that is held out; with fewer, nothing is chosen."""
_CLEAR = 2.0
"""Standard errors by which a way must be nearer than re-estimation, at every reference allocation."""


class Corrector:
    """Corrects the statistics of one network by paired differences; the float network is observed once.

    Args:
        architecture: the float network.
        model: the same under quantization.
        images: one batch.
    """

    @torch.no_grad()
    def __init__(self, architecture: nn.Module, model: nn.Module, images: Any) -> None:
        self._model, self._images = model, images
        self._shifts = Shifts(architecture, model)
        with self._shifts.observing():
            call(architecture, images)

    def correct(self) -> None:
        """Correct the statistics for the present allocation, layer by layer in one pass."""
        with self._shifts.correcting():
            call(self._model, self._images)


@torch.no_grad()
def update_statistics(model: nn.Module, way: str, problem: Problem, recipe: Recipe, corrector: Corrector | None) -> None:
    """Let the statistics of a calibrated network follow its quantization.

    Args:
        model: at an allocation, in evaluation mode.
        way: one of `WAYS`.
        problem: data and seed.
        recipe: number of images to re-estimate on, and their augmentation; 0 keeps the statistics whatever the way.
        corrector: of the network; needed to correct.
    """
    if way == KEPT or not recipe.reestimate:
        return
    with parametrize.cached():  # statistics change, weights do not
        if way == REESTIMATED:
            reestimate_batchnorm(model, problem.train, recipe, device=problem.device, seed=problem.seed, batch=problem.execution.batch)
        elif corrector is not None:
            corrector.correct()


def reference_allocations(problem: Problem) -> list[tuple[str, Allocation]]:
    """(Name, allocation) of the uniform allocations next to the budgets: the largest that fits, and the smallest that does not."""
    uniform = {choice: problem.space.uniform(choice) for choice in problem.space.choices if not choice.weight.is_float}
    share = {choice: tightness(problem.amounts(allocation), problem.budgets) for choice, allocation in uniform.items()}
    fitting = [choice for choice in uniform if problem.fits(uniform[choice])]
    beyond = [choice for choice in uniform if choice not in fitting]
    near = [*([max(fitting, key=share.__getitem__)] if fitting else []), *([min(beyond, key=share.__getitem__)] if beyond else [])]
    return [(f"uniform {choice}", uniform[choice]) for choice in near]


@torch.no_grad()
def choose_statistics(
    problem: Problem, method: Method, recipe: Recipe, references: Sequence[tuple[str, Allocation]]
) -> StatisticsChoice | None:
    """The way whose networks are nearest to the float one; re-estimation, unless another is clearly nearer at every reference allocation.

    None where there is nothing to choose: no running statistics, a recipe that keeps them, a method that corrects them itself, too few
    samples, no reference allocation.

    Args:
        problem: float network and training data; validation and test data, and labels, are not read.
        method: makes the quantizers; used as calibrated, without its own `calibrate`.
        recipe: see `update_statistics`.
        references: (name, allocation).
    """
    drawn = _Drawn.of(problem, recipe)
    if not running_norms(problem.model) or not recipe.reestimate or method.compensates or drawn is None or not references:
        return None
    network = Network(problem.model, problem.space, problem.calibration, method)
    network.model.eval()
    corrector = Corrector(problem.model, network.model, drawn.corrected_on)
    wanted = [call(problem.model, inputs) for inputs in drawn.held_out]
    apart: list[dict[str, Tensor]] = []
    for _, allocation in references:
        found: dict[str, Tensor] = {}
        for way in WAYS:
            network.begin(allocation)
            with parametrize.cached():
                if way == REESTIMATED:
                    reestimate(network.model, drawn.reestimated_on())
                elif way == CORRECTED:
                    corrector.correct()
            found[way] = _divergences(problem.task, network.model, drawn.held_out, wanted)
        apart.append(found)
        if _nearest(apart) == REESTIMATED:  # no other way is clearly nearer, whatever the other reference says
            break
    return StatisticsChoice(
        chosen=_nearest(apart),
        samples=len(apart[0][KEPT]),
        allocations=tuple(name for name, _ in references[: len(apart)]),
        divergences={way: tuple(min(float(found[way].mean()), _LARGEST) for found in apart) for way in WAYS},
    )


_LARGEST = 1e30
"""Shown for a divergence that is not finite."""


def _divergences(task: Task, model: nn.Module, batches: Sequence[Any], wanted: Sequence[Any]) -> Tensor:
    """Divergence of every sample, float64 `[N]`; those that are not finite are very large."""
    with parametrize.cached():
        found = torch.cat([task.divergence(outputs, call(model, inputs)) for outputs, inputs in zip(wanted, batches, strict=True)])
    return found.double().nan_to_num(nan=_LARGEST, posinf=_LARGEST).cpu()


def _nearest(apart: Sequence[dict[str, Tensor]]) -> str:
    clearer = [way for way in (KEPT, CORRECTED) if all(_clearly_less(found[way], found[REESTIMATED]) for found in apart)]
    return min(clearer, key=lambda way: math.prod(float(found[way].mean()) for found in apart), default=REESTIMATED)


def _clearly_less(one: Tensor, other: Tensor) -> bool:
    gain = other - one
    error = gain.std() / math.sqrt(len(gain))
    return bool(gain.mean() > _CLEAR * error)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Training samples, of which the last quarter is held out from the others."""

    problem: Problem
    recipe: Recipe
    samples: int
    batch: int
    learning: int
    """Batches that are not held out."""

    @classmethod
    def of(cls, problem: Problem, recipe: Recipe) -> _Drawn | None:
        samples = min(len(problem.train), max(recipe.reestimate, CORRECTION_IMAGES) + _HELD_OUT)
        if samples < 4 * _FEWEST:
            return None
        batches = max(-(-samples // problem.execution.batch), 4)
        batch = -(-samples // batches)
        held = max(min(samples // 4, _HELD_OUT) // batch, 1)
        return cls(problem=problem, recipe=recipe, samples=samples, batch=batch, learning=-(-samples // batch) - held)

    def reestimated_on(self) -> Iterator[Any]:
        return islice(self._batches(augment=self.recipe.augment), self.learning)

    @property
    def corrected_on(self) -> Any:
        batches = list(islice(self._batches(augment=False), min(self.learning, -(-CORRECTION_IMAGES // self.batch))))
        return concatenated(batches, min(sum(map(batch_size, batches)), CORRECTION_IMAGES))

    @property
    def held_out(self) -> list[Any]:
        return list(islice(self._batches(augment=False), self.learning, None))

    def _batches(self, *, augment: bool) -> Iterator[Any]:
        problem = self.problem
        taken = problem.train.take(self.samples, problem.seed)
        for inputs, _ in taken.batches(self.batch, seed=problem.seed, augment=augment):
            yield to_device(inputs, problem.device)
