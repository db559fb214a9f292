"""The two quantizers of `learned_range` on uniform grids: step and range of a weight or of an activation, and the bits that they imply."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods.learned_width import LOWEST_BITS, LearnedWidth, clip_to
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.learned_range import implied_bits, quantize_in_range, range_codes, round_straight
from mpsearch.numbers.grid import Grid

__all__ = ["Parametrization", "RangeActivation", "RangeWeight", "UniformRange"]

Parametrization = Literal["u3", "u2", "u1"]

_MAX_RATIO = 32.0
"""Largest ratio of step and range to their initial values, either way; clipped gradients could not lead them back from near 0."""


class UniformRange(LearnedWidth):
    """Step and range of one tensor; shared by weights and activations."""

    lo: Tensor
    hi: Tensor
    offset: Tensor
    grid: Grid
    step: nn.Parameter
    top: nn.Parameter
    width: nn.Parameter
    start: Tensor

    def _setup(self, parametrization: Parametrization, learns_bits: bool, snap: bool) -> None:
        self.parametrization, self.learns_bits, self.snap = parametrization, learns_bits, snap
        self.learned: tuple[str, ...]
        if learns_bits:
            self.learned = {"u3": ("step", "top"), "u2": ("width", "top"), "u1": ("width", "step")}[parametrization]
        else:
            self.learned = ("step",) if parametrization == "u1" else ("top",)
        for name in self.learned:
            self.register_parameter(name, nn.Parameter(torch.ones(())))
        self.register_buffer("start", torch.ones(()))

    def _begin(self, step: Tensor) -> None:
        self.start.copy_(step)
        for name in self.learned:
            start = {"step": step, "top": step * self.highest(), "width": torch.tensor(float(self.bits))}[name]
            getattr(self, name).data.copy_(start)

    def highest(self) -> Tensor:
        """`[]`, largest value divided by the step on the allocation's grid; never 0, not even for float."""
        return (self.hi + self.offset).clamp_min(0.5)

    def _two_levels(self) -> Tensor:
        return self.hi - self.lo == 1

    def _signed(self) -> Tensor:
        return (self.lo < 0).to(self.lo.dtype)

    def _reach(self) -> Tensor:
        """`m/d` at the learned or given width."""
        if not self.learns_bits:
            return self.highest()
        return torch.exp2(round_straight(self.width) - self._signed()) - 1 + self.offset

    def raw_step(self) -> Tensor:
        """`[]`, d before snapping."""
        return self.step if "step" in self.learned else self.top / self._reach()

    def range_top(self) -> Tensor:
        """`[]`, m; with learned bits and step, that of the snapped step."""
        return self.top if "top" in self.learned else self.snapped(self.step) * self._reach()

    def pair(self) -> tuple[Tensor, Tensor]:
        """The present (d, m)."""
        step, top = self.raw_step(), self.range_top()
        if self.learns_bits:  # with two levels the range determines the step
            step = torch.where(self._two_levels(), top / self.highest(), step)
        return self.snapped(step), top

    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, with gradients."""
        if "width" in self.learned:
            return round_straight(self.width)  # within its limits by `project`; a clamp would halve the gradient at the lower one
        step, top = self.pair()
        bits = implied_bits(top, step, self.offset, signed=self.grid.lo < 0, lowest=min(self.bits, LOWEST_BITS))
        return bits - (bits - self.bits).clamp_min(0).detach()  # a step that was snapped down counts codes that the grid clips

    def soft_bits(self) -> float:
        """`log2(m/d + 1) + 1` (without the last 1 if unsigned), not rounded; 32 for float."""
        if self.bits == FLOAT_BITS:
            return float(FLOAT_BITS)
        if "width" in self.learned:
            return float(self.width.detach())
        step, top = (value.detach() for value in (self.raw_step(), self.range_top()))
        return float((torch.log2((top / step - self.offset).clamp_min(0) + 1) + self._signed()).clamp_max(self.bits))

    def clip_gradients(self) -> None:
        """Clip gradients so that no step exceeds `lr · d`, or lr bits."""
        limit = torch.minimum(self.raw_step(), self.range_top())
        for name in self.learned:
            clip_to(getattr(self, name), torch.ones_like(limit) if name == "width" else limit)

    def project(self) -> None:
        """Clamp step and range: positive, `k ≥ 1`, and no finer than the allocation's grid."""
        highest = self.highest()
        if "top" in self.learned:
            self.top.clamp_(self.start * highest / _MAX_RATIO, self.start * highest * _MAX_RATIO)
        if "step" in self.learned:
            self.step.clamp_(self.start / _MAX_RATIO, self.start * highest * _MAX_RATIO)
        if "width" in self.learned:
            self.width.clamp_(min(self.bits, LOWEST_BITS), self.bits)
        elif len(self.learned) == 2:
            least = torch.minimum(1 + self.offset, highest)
            self.step.copy_(torch.clamp(self.step, self.top / highest, self.top / least))


class RangeWeight(UniformRange, WeightQuantizer):
    """Step and range of the layer, times a fixed ratio for each channel."""

    ratios: Tensor

    def __init__(self, rows: Rows, parametrization: Parametrization, learns_bits: bool, snap: bool) -> None:
        super().__init__(rows)
        self._setup(parametrization, learns_bits, snap)
        self.register_buffer("ratios", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Initialise with the calibrated steps: one for the layer, and each channel's ratio to it."""
        median = self.snapped(steps.median())  # the step 1 of a zero channel would distort a mean
        self.ratios.copy_(self.snapped(steps / median))
        self._begin(median)

    def steps(self, weight: Tensor) -> Tensor:
        """Step d of each channel, `[C]`."""
        return self.pair()[0] * self.ratios

    def quantize(self, rows: Tensor) -> Tensor:
        """Quantize on the learned range, or on the whole grid at given bits."""
        return quantize_in_range(rows, *self._limits()) if self.learns_bits else super().quantize(rows)

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and steps of the quantized weight."""
        if not self.learns_bits:
            return super().export(weight)
        limits = self._limits()
        return range_codes(self.rows.split(weight), *limits).to(torch.int16), limits[2].squeeze(1)

    def _limits(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        step, top = (value * self.ratios.unsqueeze(1) for value in self.pair())
        further = -self.lo - self.hi - 2 * self.offset  # 1 in two's complement, else 0
        top = top + torch.where(self._two_levels(), 0.5, 0.0) * step  # otherwise weights beyond one of two levels would have no gradient
        return -(top + further * step), top, step, self.lo, self.hi, self.offset


class RangeActivation(UniformRange, ActQuantizer):
    """Step and range of a layer's input."""

    def __init__(self, parametrization: Parametrization, learns_bits: bool, snap: bool) -> None:
        super().__init__()
        self._setup(parametrization, learns_bits, snap)

    def begin(self, step: Tensor) -> None:
        """Initialise with the calibrated step."""
        self._begin(self.snapped(step))

    def step_value(self) -> Tensor:
        """The step, `[]`, that covers the range at the allocation's bits."""
        return self.snapped(self.range_top() / self.highest()) if self.learns_bits else self.pair()[0]

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize on the learned range in training, else as the file does."""
        if not (self.learns_bits and self.training):
            return super().quantize(x)
        step, top = self.pair()
        low = -self._signed() * (top + step)
        return quantize_in_range(x, *(value.to(x.dtype) for value in (low, top, step, self.lo, self.hi, self.offset)))
