"""What `learned_range` asks of a quantizer whose bits follow from numbers that are trained, whatever its levels are."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS

__all__ = ["LOWEST_BITS", "LearnedWidth", "clip_to"]

LOWEST_BITS = 2
"""Bits that are never undercut, unless the allocation gives fewer."""


class LearnedWidth(nn.Module, ABC):
    """A quantizer, of a weight or of an activation, that may learn its bits."""

    bits: int

    @abstractmethod
    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, whole, with gradients."""

    @abstractmethod
    def soft_bits(self) -> float:
        """The same before rounding up, for reading only; 32 where nothing is quantized."""

    @abstractmethod
    def clip_gradients(self) -> None:
        """No step larger than `lr` times the smallest magnitude that is learned, or lr bits."""

    @abstractmethod
    def project(self) -> None:
        """What is learned stays positive, in order, and within the bits of the allocation."""

    def whole_bits(self) -> float:
        """The learned bits as a number; 32 where nothing is quantized."""
        return float(self.bits if self.bits == FLOAT_BITS else self.bits_now().detach())


def clip_to(parameter: Tensor, limit: Tensor) -> None:
    """Gradient within ±limit, in place."""
    if parameter.grad is not None:
        parameter.grad.clamp_(-limit, limit)
