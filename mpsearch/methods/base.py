"""`Method`: a frozen config that makes one small module a weight and one an activation, and may answer hooks of the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.quant.channels import Rows
from mpsearch.quant.grid import GridStyle

__all__ = ["Method"]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base of all methods; the object is its hyperparameters.

    Args:
        grid: weight grid from 2 bits up: `twos`, `narrow` or `half` (see `mpsearch.quant.grid`).
    """

    paper: ClassVar[str]
    """Authors, title, venue or arXiv number."""

    description: ClassVar[str]
    """One line for `mpsearch list`."""

    grid: GridStyle = "twos"

    @abstractmethod
    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """A fresh module for one weight."""

    @abstractmethod
    def act_quantizer(self) -> ActQuantizer:
        """A fresh module for one layer's input."""

    def penalty(self, network: Network, progress: float) -> Tensor | None:
        """Regularizer added to the loss, or None; `progress` goes from 0 to 1 over the training."""
        return None

    def after_step(self, network: Network, progress: float) -> None:  # noqa: B027
        """Called after each optimizer step, without gradients: projections, annealing."""
