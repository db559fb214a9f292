"""`Method`: a frozen config that makes one quantizer per weight and one per activation, with optional hooks of the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import GridStyle, stored_as_grid

__all__ = ["Batch", "CalibrationLoss", "Method", "mean_over_weights"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The data of one training step between forward and backward.

    Args:
        inputs: to the network, on its device.
        targets: on the same device.
        outputs: of the quantized network, a tensor or a structure of them.
        loss: `[]`, loss of the recipe: task loss, distillation or both.
        task_loss: `(outputs, targets) → []`.
        divergence: `(reference outputs, outputs) → [N]` in nats.
        progress: completed share of the training, from 0 to 1.
    """

    inputs: Any
    targets: Any
    outputs: Any
    loss: Tensor
    task_loss: Callable[[Any, Any], Tensor]
    divergence: Callable[[Any, Any], Tensor]
    progress: float


class CalibrationLoss(Protocol):
    """Mean divergence of the network from the float network on fixed, unaugmented training images, in nats; no label is read."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The images, in batches on the network's device."""

    def drawn(self, images: int, views: int) -> Sequence[Any]:
        """Batches of at most `images` unaugmented training images, followed by `views` augmented copies of them in the same order."""

    def __call__(self) -> float:
        """The divergence of the network in its present state."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base class of all methods; the fields are the hyperparameters.

    Order of the hooks: `begin` (after an allocation is set) → `calibrate` (before it is scored untrained) → for each step
    `objective`, backward, `before_step`, the optimizer, `after_step` → `after_epoch` → `learned_bits`.

    Args:
        grid: weight grid from 2 bits up: `twos`, `narrow` or `half` (see `mpsearch.numbers.grid`).
    """

    paper: ClassVar[str]
    """Authors, title, venue or arXiv number."""

    description: ClassVar[str]
    """One line for `mpsearch list`."""

    compilable: ClassVar[bool] = True
    """Whether the training forward can be compiled into one graph for all allocations; other methods train eagerly."""

    compensates: ClassVar[bool] = False
    """Whether `calibrate` compensates rounding errors on images. If so, BatchNorm is not re-estimated after it, and signals use compensated
    weights too."""

    kinds: ClassVar[frozenset[str]] = frozenset({"uniform", "half_step", "ternary"})
    """Kinds of numbers on a menu in which the method can train weights."""

    grouped: ClassVar[bool] = True
    """Whether per-tensor and per-group scales are possible."""

    superblocks: ClassVar[bool] = False
    """Whether steps may be bound to those of a superblock."""

    zero_points: ClassVar[bool] = False
    """Whether codes may have a zero point, which stays as calibrated."""

    grid: GridStyle = "twos"

    def require(self, name: str, /, **rules: tuple[bool, str]) -> None:
        """Check settings against rules; `rules`: field → (whether the rule holds, its text).

        Raises:
            ConfigError: a rule does not hold; the path is `name.field`.
        """
        for field, (holds, rule) in rules.items():
            if not holds:
                path = f"{name}.{field}"
                raise ConfigError(f"{path} must be {rule}, not {getattr(self, field)!r}", path=path)

    @abstractmethod
    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """A new quantizer for one weight."""

    @abstractmethod
    def act_quantizer(self) -> ActQuantizer:
        """A new quantizer for one layer's input."""

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """Format in which a file stores a weight with the menu format `asked`; None: the method cannot train it.

        `uniform` on a menu means the method's own levels, here the codes of `grid`. Budgets of a study must hold for every format that its
        methods can store, so the result may depend on settings from a list of choices, but not on one from a range.
        """
        if asked.is_float:
            return asked
        if (
            asked.kind not in self.kinds
            or (asked.granularity != "channel" and not self.grouped)
            or (asked.in_superblocks and not self.superblocks)
            or (asked.zero_point and not self.zero_points)
        ):
            return None
        return stored_as_grid(asked, self.grid)

    def stores_input(self, asked: NumberFormat) -> NumberFormat | None:
        """The same for a layer's input."""
        return asked if asked.is_float or asked.kind == "uniform" else None

    def begin(self, network: Network) -> None:  # noqa: B027
        """Reset the state that the method keeps outside the quantizers; called after the network was set to an allocation."""

    def calibrate(self, network: Network, loss: CalibrationLoss) -> None:  # noqa: B027
        """Improve the calibrated network without training, by `loss` or its images.

        Called without gradients and in evaluation mode, before BatchNorm is re-estimated (unless the method `compensates`).
        """

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """The loss to minimise: `batch.loss`, possibly with terms of the method, or a replacement."""
        return batch.loss

    def before_step(self, network: Network, progress: float) -> None:  # noqa: B027
        """Called after backward and before the optimizer step, without autograd: clip or rewrite gradients, blend weights."""

    def after_step(self, network: Network, progress: float) -> None:  # noqa: B027
        """Called after each optimizer step, without autograd: projections, annealing."""

    def after_epoch(self, network: Network, progress: float) -> None:  # noqa: B027
        """Called at the end of each epoch, without autograd, before BatchNorm is re-estimated and the epoch is scored."""

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Weight bits by layer name that the training has learned; None if the method takes bits as given."""
        return None


def mean_over_weights(terms: Sequence[tuple[Layer, Tensor]]) -> Tensor | float:
    """`Σ_l (#W_l / Σ #W) · term_l`, `[]`; 0 without layers."""
    total = sum(layer.weights for layer, _ in terms)
    return torch.stack([term * (layer.weights / total) for layer, term in terms]).sum() if terms else 0.0
