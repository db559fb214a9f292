"""The weight quantizer of `learned_range` on powers of two: smallest and largest magnitude, and the bits that they imply.

    Q(x) = ±m · 2^−k,   k = 0 … log2(m/q)                    m: largest magnitude of a channel, q: smallest; see `quant.power_of_two_levels`

Rounding is in the logarithm and there is no zero. m and q are one pair a layer times fixed ratios of its channels, `m/q` a power of two. At
bits as given m is trained and `m/q = 2^(2^(b−1) − 1)`; where bits are learned, so is q, from at most `2^15` below m: what lies deeper adds
nothing that a file or a sum would notice, and q, which moves by at most `lr · q` a step, would never be seen to move.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.methods.learned_width import LOWEST_BITS, LearnedWidth, clip_to
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.quant.channels import Rows
from mpsearch.quant.learned_range import implied_bits, power_of_two
from mpsearch.quant.power_of_two import codes, fit_scales
from mpsearch.quant.power_of_two_levels import quantize_to_powers

__all__ = ["PowerRangeWeight"]

_FACTOR = 32.0
"""How far m may leave its start; from 0 the clipped gradients would not lead back."""
_DEEPEST = 15.0


class PowerRangeWeight(LearnedWidth, WeightQuantizer):
    """Largest magnitude of the layer and, where bits are learned, the smallest; channels in fixed proportion."""

    ratios: Tensor
    start: Tensor

    def __init__(self, rows: Rows, learns_bits: bool, snap: bool) -> None:
        super().__init__(rows)
        self.learns_bits, self.snap = learns_bits, snap
        self.top = nn.Parameter(torch.ones(()))
        if learns_bits:
            self.bottom = nn.Parameter(torch.ones(()))
        self.register_buffer("ratios", torch.ones(rows.channels))
        self.register_buffer("start", torch.ones(()))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Scales of least squared error, found from the end of the calibrated grid."""
        scales = fit_scales(weight, steps * (self.hi + self.offset).clamp_min(0.5), self.bits)
        typical = scales.median()
        if self.snap:
            typical = power_of_two(typical)
        ratios = scales / typical
        self.ratios.copy_(power_of_two(ratios) if self.snap else ratios)
        self.start.copy_(typical)
        self.top.data.copy_(typical)
        if self.learns_bits:
            self.bottom.data.copy_(typical * torch.exp2(-self._deepest()))

    def steps(self, weight: Tensor) -> Tensor:
        """Largest magnitude m of each channel, `[C]`: what the file holds."""
        return (power_of_two(self.top) if self.snap else self.top) * self.ratios

    def quantize(self, rows: Tensor) -> Tensor:
        """`±m · 2^−k`; in units of m, so that the gradients of m and q are the paper's."""
        scales = self.steps(rows).unsqueeze(1)
        return quantize_to_powers(rows / scales, self._ratio(), torch.ones_like(self.start)) * scales

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes no deeper than q, and m of each channel."""
        rows = self.rows.split(weight)
        scales = self.steps(rows)
        span = int(-self._ratio().log2().round())
        return codes(rows, scales, self.bits).clamp(-1 - span, span), scales

    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, with gradients."""
        if not self.learns_bits:
            return torch.full_like(self.start, float(self.bits))
        span = -self._ratio().log2()
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
        """No step larger than `lr · q`; at bits as given, `lr · m`."""
        limit = self.bottom.detach() if self.learns_bits else self.top.detach()
        for parameter in self.parameters(recurse=False):
            clip_to(parameter, limit)

    def project(self) -> None:
        """Within a factor of the start, and q no deeper than the allocation's bits reach."""
        self.top.clamp_(self.start / _FACTOR, self.start * _FACTOR)
        if self.learns_bits:
            self.bottom.copy_(torch.clamp(self.bottom, self.top * torch.exp2(-self._deepest()), self.top * torch.exp2(-self._shallowest())))

    def _ratio(self) -> Tensor:
        """`[]`, q/m, a power of two."""
        if not self.learns_bits:
            return torch.exp2(-self.hi.clamp_min(0))
        return power_of_two(self.bottom / self.top).clamp_min(torch.exp2(-self._deepest()))

    def _deepest(self) -> Tensor:
        return self.hi.clamp(0, _DEEPEST)

    def _shallowest(self) -> Tensor:
        """That of two bits, or of one where the allocation gives no more."""
        return self.hi.clamp(0, 1)
