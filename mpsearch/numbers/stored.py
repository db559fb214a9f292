"""`StoredNumbers`: scales and biases as a file stores them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["StoredNumbers"]

_NORMAL = 2.0**-14
"""Smallest number that half precision holds in full."""


@dataclass(frozen=True, kw_only=True)
class StoredNumbers:
    """Half-precision numbers with a common exponent, `values · 2^exponent`; or float32 numbers, where those are too coarse.

    Args:
        values: float16 or float32.
        exponent: −126 to 127; 0 for float32.
    """

    values: Tensor
    exponent: int = 0

    @classmethod
    def of(cls, numbers: Tensor, *, wide: bool = False, bare: bool = False) -> StoredNumbers:
        """Round from float32 unless `wide`; the relative error is at most 2^−11 for numbers down to 2^−13 of the largest.

        Args:
            numbers: float.
            wide: keep float32.
            bare: without an exponent, as runtimes of groups have scales, wherever no number errs by more than 2^−11 of the largest.
        """
        if wide:
            return cls(values=numbers.float())
        largest = float(numbers.abs().max()) if numbers.numel() else 0.0
        exponent = 0
        if largest > 0 and largest < float("inf") and not (bare and _NORMAL <= largest < 1 / _NORMAL):
            exponent = max(-126, min(127, math.frexp(largest)[1]))
        return cls(values=torch.ldexp(numbers.float(), torch.tensor(-exponent)).half(), exponent=exponent)

    @property
    def wide(self) -> bool:
        """Whether the numbers are float32."""
        return self.values.dtype == torch.float32

    def numbers(self) -> Tensor:
        """float32, exact."""
        return self.values if self.wide else torch.ldexp(self.values.float(), torch.tensor(self.exponent))
