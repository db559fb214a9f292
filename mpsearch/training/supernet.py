"""`Supernet`: one set of weights trained for all allocations at once, so that any allocation can be scored without training.

Each step trains the largest allocation on the recipe's loss, and the smallest and some random ones on the targets and the largest one's
outputs: the sandwich rule and inplace distillation of Yu, Huang: Universally Slimmable Networks and Improved Training Techniques, ICCV
2019, arXiv 1903.05134, sections 4.1 and 4.2, there for widths. To score an allocation, BatchNorm is re-estimated on a few training images
(section 3.2 there), without which shared weights cannot rank allocations, and the validation split is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.pass_counts import count
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Score
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.any_precision import AnyPrecision, AnyStepWeight
from mpsearch.methods.base import Batch
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.calibrate import Calibration
from mpsearch.network.execution import Execution
from mpsearch.network.inputs import batch_size, call, lay_out, to_device
from mpsearch.network.modes import evaluating
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

_USUAL = Execution()
_BATCH = 64
"""Batch size when scoring; the activations of so many images fit in a processor's cache."""
_MAX_CACHED_BYTES = 2**30
"""Maximum size of cached quantized weights; larger networks are quantized again for each score."""
_RUN_IN_BFLOAT16 = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules that autocast runs in bfloat16 whatever the type of their weight."""


@dataclass(frozen=True, kw_only=True)
class SupernetRecipe:
    """How the shared weights are trained and allocations are scored.

    Args:
        recipe: training recipe, epochs included; `distill` is the weight of distillation, from the float network to the largest allocation
            and from that to the others.
        draws: random allocations per step, besides the largest and the smallest.
        images: training images on which BatchNorm is re-estimated for each score.
    """

    recipe: Recipe
    draws: int = 2
    images: int = 128


class Supernet:
    """Shared weights of a float network.

    Args:
        model: float network; it is copied, not changed.
        space: layers and menus.
        calibration: ranges that the steps are initialised from.
        settings: see `SupernetRecipe`.
        style: grid of the weights.
        costs: tables by name, at least those of the budgets.
        budgets: half of the random allocations in training have costs close to these.
        execution: how the network runs while it is trained.

    Raises:
        ConfigError: a menu has a format that shared weights do not support.
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
        execution: Execution = _USUAL,
    ) -> None:
        other = next((c for c in space.choices if not c.weight.is_float and c.weight.family != NumberFormat("uniform", 8).family), None)
        if other is not None:
            raise ConfigError(
                f"search.evaluate: shared weights support only uniform bits, the space has {other}; evaluate by qat or ptq",
                path="search.evaluate",
            )
        self.settings = settings
        self._sandwich = Sandwich(space, costs, budgets)
        self._method = AnyPrecision(
            grid=style,
            weight_widths=_widths(choice.weight for choice in space.choices),
            act_widths=_widths(choice.activation for choice in space.choices),
        )
        self.network = Network(model, space, calibration, self._method)
        self._execution = execution
        lay_out(self.network.model, execution.memory_format)
        for column in space.choices:  # every width gets its steps; training starts at the largest
            self.network.begin(space.uniform(column))
        self.network.begin(self._sandwich.largest)
        self._reestimation_batches: list[Any] = []

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
        """Train the shared weights, or resume from a checkpoint; returns the curve of the mean loss.

        Args:
            split: training data.
            task: loss and divergence.
            device: device of the network.
            seed: seed of data order, augmentation and draws.
            teacher: float network that the largest allocation learns from.
            on_step: called with (steps done, steps in total), for progress bars.
            checkpoint: file to resume from and save to.

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
            replace(recipe, reestimate=0),  # every score re-estimates BatchNorm itself
            device=device,
            seed=seed,
            teacher=teacher,
            hooks=hooks,
            checkpoint=checkpoint,
            execution=self._execution,
        )

    def freeze(self, split: Split, *, device: torch.device, seed: int) -> None:
        """End training: keep quantized weights, and the images on which BatchNorm is re-estimated, in memory.

        Args:
            split: training data.
            device: device of the network.
            seed: seed of the choice of images.
        """
        space, recipe = self.network.space, self.settings.recipe
        lay_out(evaluating(self.network.model.requires_grad_(False)), torch.contiguous_format)
        with autocast(recipe.precision, device):
            narrow = torch.bfloat16 if torch.is_autocast_enabled(device.type) else torch.float32
        if 4 * len(self._method.weight_widths) * sum(layer.weights for layer in space.layers) <= _MAX_CACHED_BYTES:
            for layer in space.layers:
                takes = isinstance(self.network.model.get_submodule(layer.module), _RUN_IN_BFLOAT16) and not layer.aliases
                cast(AnyStepWeight, self.network.weight_quantizer(layer)).keep(narrow if takes else torch.float32)
        images = split.take(min(self.settings.images, len(split)), seed)
        batches = images.batches(_BATCH, seed=seed, augment=recipe.augment)
        self._reestimation_batches = [to_device(inputs, device) for inputs, _ in batches]

    def score(self, allocation: Allocation, split: Split, task: Task, *, device: torch.device) -> Score:
        """Score an allocation on `split` with the shared weights; the same bits give the same score, whatever was scored before.

        Raises:
            SpaceError: the allocation is not in the space.
        """
        self.network.set_bits(allocation)
        with autocast(self.settings.recipe.precision, device):
            reestimate(self.network.model, self._reestimation_batches)
            return evaluate(self.network.model, split, task, device=device, batch=_BATCH)

    def _sandwiched(self, batch: Batch, recipe: Recipe, device: torch.device) -> Tensor:
        """Accumulate the gradients of all allocations but the last; returns the last one's loss, with the value of the mean loss."""
        others = [self._sandwich.smallest, *(self._sandwich.draw() for _ in range(self.settings.draws))]
        share = 1 / (1 + len(others))
        loss, total = share * batch.loss, 0.0
        for allocation in others:
            # Backward first, since the graph refers to the grids of the current bits.
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


def _widths(formats: Iterable[NumberFormat]) -> tuple[int, ...]:
    return tuple(sorted({format.bits for format in formats if not format.is_float}))
