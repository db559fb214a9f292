"""`Supernet`: one set of weights trained at all allocations at once; then any allocation is scored without training.

A step trains the largest allocation on the recipe's loss, and the smallest and some random ones on targets and the largest one's outputs:
sandwich rule and inplace distillation of Yu, Huang: Universally Slimmable Networks and Improved Training Techniques, ICCV 2019, arXiv
1903.05134, sections 4.1 and 4.2, there for widths. A score re-estimates BatchNorm on a few training images (section 3.2 there), without
which shared weights rank nothing, and reads the validation split once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import FLOAT_BITS
from mpsearch.core.pass_counts import count
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Score
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.any_precision import AnyPrecision, AnyStepWeight
from mpsearch.methods.base import Batch
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import batch_size, call, lay_out, to_device
from mpsearch.network.network import Network
from mpsearch.numbers.grid import GridStyle
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.distill import distilled
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, train
from mpsearch.training.precision import autocast
from mpsearch.training.recipe import Recipe
from mpsearch.training.sandwich import Sandwich

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["Supernet", "SupernetRecipe"]

_BATCH = 64
"""Images a pass when scoring: their activations stay in a processor's cache."""
_MOST_KEPT = 2**30
"""Bytes of quantized weights that may be kept for scoring; beyond, each score quantizes anew."""
_TAKE_BFLOAT16 = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules that autocast runs in bfloat16 whatever their weight's type."""


@dataclass(frozen=True, kw_only=True)
class SupernetRecipe:
    """How the shared weights are trained and allocations scored.

    Args:
        recipe: of training, epochs included; `distill` says how much the largest allocation learns from the float network, and the others
            from the largest.
        draws: random allocations a step, beside the largest and the smallest.
        images: training images that BatchNorm is re-estimated on for each score.
    """

    recipe: Recipe
    draws: int = 2
    images: int = 128


class Supernet:
    """Shared weights of a float network.

    Args:
        model: float network; copied, never changed.
        space: layers and menus.
        calibration: ranges that the steps start from.
        settings: see `SupernetRecipe`.
        style: grid of the weights.
        costs: tables by name, those of the budgets among them.
        budgets: where the random allocations of training mostly lie.
    """

    def __init__(
        self,
        model: nn.Module,
        space: ResolvedSpace,
        calibration: Calibration,
        settings: SupernetRecipe,
        *,
        style: GridStyle,
        costs: Mapping[str, CostTable],
        budgets: Sequence[Budget],
    ) -> None:
        self.settings = settings
        self._sandwich = Sandwich(space, costs, budgets)
        self._method = AnyPrecision(
            grid=style,
            weight_widths=_widths(choice.weight_bits for choice in space.choices),
            act_widths=_widths(choice.act_bits for choice in space.choices),
        )
        self.network = Network(model, space, calibration, self._method)
        lay_out(self.network.model, torch.channels_last)
        for column in space.choices:  # steps for every width, then the largest, which training starts at
            self.network.begin(space.uniform(column))
        self.network.begin(self._sandwich.largest)
        self._passes: list[Any] = []

    def train(
        self,
        split: Split,
        task: Task,
        *,
        device: torch.device,
        seed: int,
        teacher: nn.Module | None = None,
        on_step: Callable[[int, int], None] = lambda done, total: None,
        checkpoint: Checkpoint | None = None,
    ) -> list[dict[str, float]]:
        """Train the shared weights in the one loop, or go on from a checkpoint; returns the curve of the mean loss.

        Args:
            split: training data.
            task: loss and divergence.
            device: where the network is.
            seed: of data order, augmentation and draws.
            teacher: float network that the largest allocation learns from.
            on_step: (steps done, steps in all) → progress bars.
            checkpoint: where to resume from and save to.

        Raises:
            TrainingDiverged: the loss is NaN or infinite.
        """
        recipe = self.settings.recipe
        hooks = replace(
            Hooks.of(self._method, self.network),
            objective=lambda batch: self._sandwiched(batch, recipe, device),
            after_step=self._after_step,
            on_step=on_step,
        )
        return train(
            self.network.model,
            self.network.quantizer_parameters(),
            split,
            task,
            replace(recipe, reestimate=0),  # every score re-estimates anew
            device=device,
            seed=seed,
            teacher=teacher,
            hooks=hooks,
            checkpoint=checkpoint,
        )

    def freeze(self, split: Split, *, device: torch.device, seed: int) -> None:
        """No more training: keep quantized weights and the images that BatchNorm is re-estimated on.

        Args:
            split: training data.
            device: where the network is.
            seed: of the choice of images.
        """
        space, recipe = self.network.space, self.settings.recipe
        lay_out(self.network.model.requires_grad_(False).eval(), torch.contiguous_format)
        with autocast(recipe.precision, device):
            narrow = torch.bfloat16 if torch.is_autocast_enabled(device.type) else torch.float32
        if 4 * len(self._method.weight_widths) * sum(layer.weights for layer in space.layers) <= _MOST_KEPT:
            for layer in space.layers:
                takes = isinstance(self.network.model.get_submodule(layer.module), _TAKE_BFLOAT16) and not layer.aliases
                cast(AnyStepWeight, self.network.weight_quantizer(layer)).keep(narrow if takes else torch.float32)
        images = split.take(min(self.settings.images, len(split)), seed)
        batches = images.batches(_BATCH, seed=seed, augment=recipe.augment)
        self._passes = [to_device(inputs, device) for inputs, _ in batches]

    def score(self, allocation: Allocation, split: Split, task: Task, *, device: torch.device) -> Score:
        """Score of an allocation on `split`, by the shared weights; the same bits give the same score, whatever was scored in between.

        Raises:
            SpaceError: an allocation outside the space.
        """
        self.network.set_bits(allocation)
        with autocast(self.settings.recipe.precision, device):
            reestimate(self.network.model, self._passes)
            return evaluate(self.network.model, split, task, device=device, batch=_BATCH)

    def _sandwiched(self, batch: Batch, recipe: Recipe, device: torch.device) -> Tensor:
        """Leave the gradients of all allocations but the last; returns the last one's share, its value that of the mean loss."""
        others = [self._sandwich.smallest, *(self._sandwich.draw() for _ in range(self.settings.draws))]
        share = 1 / (1 + len(others))
        loss, total = share * batch.loss, 0.0
        for allocation in others:
            # Backward before the bits change: graphs hold on to the grids.
            loss.backward()  # type: ignore[no-untyped-call]
            count(backward=batch_size(batch.inputs))
            total += float(loss.detach())
            self.network.set_bits(allocation)
            with autocast(recipe.precision, device):
                outputs = call(self.network.model, batch.inputs)
                loss = share * distilled(batch.task_loss, batch.divergence, outputs, batch.targets, batch.outputs, recipe)
        return loss + total

    def _after_step(self, progress: float) -> None:
        self._method.after_step(self.network, progress)
        self.network.set_bits(self._sandwich.largest)


def _widths(bits: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({width for width in bits if width != FLOAT_BITS}))
