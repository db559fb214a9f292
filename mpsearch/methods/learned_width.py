"""Interface of `learned_range` to quantizers whose bits follow from trained parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.numbers.gradients.learned_range import power_of_two

__all__ = ["LOWEST_BITS", "LearnedWidth", "clip_to"]

LOWEST_BITS = 2
"""Minimum of learned bits, unless the allocation has fewer."""


class LearnedWidth(nn.Module, ABC):
    """A quantizer of a weight or an activation that can learn its bits."""

    bits: int
    learns_bits: bool
    snap: bool

    def snapped(self, size: Tensor) -> Tensor:
        """The size, or the power of two near it if sizes are to be powers of two."""
        return power_of_two(size) if self.snap else size

    @abstractmethod
    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, integer-valued, with gradients."""

    @abstractmethod
    def soft_bits(self) -> float:
        """The learned bits before rounding up, without gradients; 32 for float."""

    @abstractmethod
    def clip_gradients(self) -> None:
        """Clip gradients so that no step exceeds `lr` times the smallest learned magnitude, or lr bits."""

    @abstractmethod
    def project(self) -> None:
        """Clamp the learned parameters so that they stay positive, consistent, and within the allocation's bits."""

    def whole_bits(self) -> float:
        """The learned bits as a number; 32 for float."""
        return float(self.bits if self.bits == FLOAT_BITS else self.bits_now().detach())


def clip_to(parameter: Tensor, limit: Tensor) -> None:
    """Clamp the gradient to ±limit, in place."""
    if parameter.grad is not None:
        parameter.grad.clamp_(-limit, limit)
