"""The two quantizers of `learned_range` on powers of two: smallest and largest magnitude, and the bits that they imply.

    Q(x) = ±m · 2^−k,   k = 0 … log2(m/q)            m: largest magnitude, q: smallest

Gradients: `mpsearch.numbers.gradients.power_of_two_levels`. Rounding is in the logarithm. Weights have no zero, and their m and q are one
pair per layer times fixed ratios of its channels; an unsigned activation has a zero in place of the sign. `m/q` is a power of two. At given
bits m is trained and `m/q = 2^(2^(b−1) − 1)`; if bits are learned, so is q, from at most `2^15` below m: smaller levels are negligible in a
sum, and q, which moves by at most `lr · q` per step, would hardly move.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods.learned_width import LOWEST_BITS, LearnedWidth, clip_to
from mpsearch.network.quantizers import PowerActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.learned_range import implied_bits, power_of_two
from mpsearch.numbers.gradients.power_of_two_levels import quantize_to_powers
from mpsearch.numbers.power_of_two import DEEPEST, codes, fit_scales

__all__ = ["PowerRange", "PowerRangeActivation", "PowerRangeWeight"]

_MAX_RATIO = 32.0
"""Largest ratio of m to its initial value, either way; clipped gradients could not lead m back from near 0."""


class PowerRange(LearnedWidth):
    """Largest magnitude of one tensor and, if bits are learned, the smallest; shared by weights and activations."""

    start: Tensor

    def _setup(self, learns_bits: bool, snap: bool) -> None:
        self.learns_bits, self.snap = learns_bits, snap
        self.top = nn.Parameter(torch.ones(()))
        if learns_bits:
            self.bottom = nn.Parameter(torch.ones(()))
        self.register_buffer("start", torch.ones(()))

    def _begin(self, top: Tensor) -> None:
        self.start.copy_(top)
        self.top.data.copy_(top)
        if self.learns_bits:
            self.bottom.data.copy_(top * torch.exp2(-self._deepest()))

    @abstractmethod
    def span(self) -> Tensor:
        """`[]`, largest exponent k at the allocation's bits."""

    def largest(self) -> Tensor:
        """`[]`, m."""
        return self.snapped(self.top)

    def ratio(self) -> Tensor:
        """`[]`, q/m, a power of two."""
        if not self.learns_bits:
            return torch.exp2(-self.span())
        ratio, least = power_of_two(self.snapped(self.bottom) / self.largest()), torch.exp2(-self._deepest())
        return torch.where(ratio < least, least, ratio)  # `clamp_min` halves the gradient at equality, where q starts

    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, with gradients."""
        if not self.learns_bits:
            return torch.full_like(self.start, float(self.bits))
        span = -self.ratio().log2()
        bits = implied_bits(span, torch.ones_like(span), torch.zeros_like(span), signed=True, lowest=min(self.bits, LOWEST_BITS))
        return bits - (bits - self.bits).clamp_min(0).detach()

    def soft_bits(self) -> float:
        """`log2(log2(m/q) + 1) + 1`, without rounding."""
        if self.bits == FLOAT_BITS:
            return float(FLOAT_BITS)
        if not self.learns_bits:
            return float(self.bits)
        span = torch.log2(self.top.detach() / self.bottom.detach()).clamp_min(0)
        return float((torch.log2(span + 1) + 1).clamp_max(self.bits))

    def clip_gradients(self) -> None:
        """Clip gradients so that no step exceeds `lr · q`, or `lr · m` at given bits."""
        limit = self.bottom.detach() if self.learns_bits else self.top.detach()
        for parameter in self.parameters(recurse=False):
            clip_to(parameter, limit)

    def project(self) -> None:
        """Clamp m to a factor of its initial value, and q to the range of the allocation's bits."""
        self.top.clamp_(self.start / _MAX_RATIO, self.start * _MAX_RATIO)
        if self.learns_bits:
            shallowest = self.span().clamp_max(1)  # that of two bits, or of one if the allocation has only one
            self.bottom.copy_(torch.clamp(self.bottom, self.top * torch.exp2(-self._deepest()), self.top * torch.exp2(-shallowest)))

    def _deepest(self) -> Tensor:
        return self.span().clamp_max(DEEPEST)


class PowerRangeWeight(PowerRange, WeightQuantizer):
    """One pair per layer, with fixed ratios of its channels."""

    ratios: Tensor

    def __init__(self, rows: Rows, learns_bits: bool, snap: bool) -> None:
        super().__init__(rows)
        self._setup(learns_bits, snap)
        self.register_buffer("ratios", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Fit scales of small squared error, starting at the end of the calibrated grid."""
        scales = fit_scales(weight, steps * (self.hi + self.offset).clamp_min(0.5), self.bits)
        median = self.snapped(scales.median())
        self.ratios.copy_(self.snapped(scales / median))
        self._begin(median)

    def span(self) -> Tensor:
        """Largest exponent k; one bit is the sign."""
        return self.hi.clamp_min(0)

    def steps(self, weight: Tensor) -> Tensor:
        """Largest magnitude m of each channel, `[C]`: the scales in the file."""
        return self.largest() * self.ratios

    def quantize(self, rows: Tensor) -> Tensor:
        """`±m · 2^−k`; computed in units of m, so that the gradients of m and q are those of the paper."""
        scales = self.steps(rows).unsqueeze(1)
        return quantize_to_powers(rows / scales, self.ratio(), torch.ones_like(self.start)) * scales

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of levels down to q, and m of each channel."""
        rows = self.rows.split(weight)
        scales = self.steps(rows)
        span = int(-self.ratio().log2().round())
        return codes(rows, scales, self.bits).clamp(-1 - span, span), scales


class PowerRangeActivation(PowerActQuantizer, PowerRange):
    """The pair of a layer's input; evaluation and the file ignore q and use all levels of the allocation's bits."""

    def __init__(self, learns_bits: bool, snap: bool) -> None:
        super().__init__()
        self._setup(learns_bits, snap)

    def begin(self, step: Tensor) -> None:
        """Initialise m with the end of the calibrated grid."""
        self._begin(self.snapped(step * self.hi.clamp_min(1)))

    def step_value(self) -> Tensor:
        """m, `[]`."""
        return self.largest()

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize to levels down to q while bits are learned."""
        if not (self.learns_bits and self.training):
            return super().quantize(x)
        return self.to_powers(x, self.largest(), self.ratio())
