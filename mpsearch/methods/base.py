"""`Method`: a frozen config that makes one small module a weight and one an activation, and may answer hooks of the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import GridStyle, stored_as_grid

__all__ = ["Batch", "CalibrationLoss", "Method"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training step as the loop sees it between forward and backward.

    Args:
        inputs: to the network, on its device.
        targets: on the same device.
        outputs: of the quantized network.
        loss: `[]`, what the recipe makes of them: task loss, distillation or both.
        task_loss: `(outputs, targets) → []`.
        divergence: `(reference outputs, outputs) → [N]` in nats.
        progress: share of the training done, from 0 to 1.
    """

    inputs: Any
    targets: Tensor
    outputs: Tensor
    loss: Tensor
    task_loss: Callable[[Tensor, Tensor], Tensor]
    divergence: Callable[[Tensor, Tensor], Tensor]
    progress: float


class CalibrationLoss(Protocol):
    """Mean divergence of the network from its float self on fixed, plain training images, in nats; no label is read."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The images, in batches on the network's device."""

    def drawn(self, images: int, views: int) -> Sequence[Any]:
        """At most `images` plain training images, then all of them `views` times augmented as in training, in the same order; batches."""

    def __call__(self) -> float:
        """The divergence of the network as it is now."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base of all methods; the object is its hyperparameters.

    Order of the hooks: `begin` (the network takes an allocation) → `calibrate` (before it is scored untrained) → for each step
    `objective`, backward, `before_step`, the optimizer, `after_step` → `after_epoch` → `learned_bits`.

    Args:
        grid: weight grid from 2 bits up: `twos`, `narrow` or `half` (see `mpsearch.numbers.grid`).
    """

    paper: ClassVar[str]
    """Authors, title, venue or arXiv number."""

    description: ClassVar[str]
    """One line for `mpsearch list`."""

    compilable: ClassVar[bool] = True
    """Whether the training forward runs in one compiled graph for all allocations; others train eagerly."""

    compensates: ClassVar[bool] = False
    """Whether `calibrate` makes errors up for each other over images: BatchNorm is then left as it comes out, and signals see weights that
    are compensated alike."""

    kinds: ClassVar[frozenset[str]] = frozenset({"uniform", "half_step", "ternary"})
    """Kinds of numbers that its weights can be trained in, where a menu names them."""

    grouped: ClassVar[bool] = True
    """Whether something else than an output channel may share a scale."""

    zero_points: ClassVar[bool] = False
    """Whether codes may be shifted by a zero point, which stays as it was calibrated."""

    grid: GridStyle = "twos"

    def require(self, name: str, rules: Mapping[str, tuple[bool, str]]) -> None:
        """Refuse the first setting whose rule does not hold; `rules`: field → (whether it holds, the rule in words).

        Raises:
            ConfigError: its path is `name.field`.
        """
        for field, (holds, rule) in rules.items():
            if not holds:
                path = f"{name}.{field}"
                raise ConfigError(f"{path} must be {rule}, not {getattr(self, field)!r}", path=path)

    @abstractmethod
    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """A fresh module for one weight."""

    @abstractmethod
    def act_quantizer(self) -> ActQuantizer:
        """A fresh module for one layer's input."""

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """How a file holds a weight for which a menu says `asked`; None: the method cannot train it.

        A menu's `uniform` stands for the method's own levels, here the codes of `grid`. A study's budgets hold for every format that its
        methods may write, so this may depend on settings chosen from a list, not on one drawn from a range.
        """
        if asked.is_float:
            return asked
        if (
            asked.kind not in self.kinds
            or (asked.granularity != "channel" and not self.grouped)
            or (asked.zero_point and not self.zero_points)
        ):
            return None
        return stored_as_grid(asked, self.grid)

    def stores_input(self, asked: NumberFormat) -> NumberFormat | None:
        """The same for a layer's input."""
        return asked if asked.is_float or asked.kind == "uniform" else None

    def begin(self, network: Network) -> None:  # noqa: B027
        """The network has just taken an allocation: reset what the method keeps beside the quantizers."""

    def calibrate(self, network: Network, loss: CalibrationLoss) -> None:  # noqa: B027
        """Improve the calibrated network without training, by `loss` or by the images it is taken on.

        Called without gradients and in evaluation mode, before BatchNorm is re-estimated (unless the method `compensates`).
        """

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """What is minimised: `batch.loss`, with whatever the method adds or puts in its place."""
        return batch.loss

    def before_step(self, network: Network, progress: float) -> None:  # noqa: B027
        """After backward, before the optimizer, without gradients: clip or rewrite gradients, blend weights."""

    def after_step(self, network: Network, progress: float) -> None:  # noqa: B027
        """After each optimizer step, without gradients: projections, annealing."""

    def after_epoch(self, network: Network, progress: float) -> None:  # noqa: B027
        """At each epoch's end, without gradients, before BatchNorm is re-estimated and the epoch is scored."""

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Weight bits by layer name that the training has found, or None from a method that takes bits as given."""
        return None
