"""`learned_range`: step and range of every quantizer are trained, and with a budget the bits that the two imply.

Uhlich, Mauch, Cardinaux, Yoshiyama, Garcia, Tiedemann, Kemp, Nakamura: Mixed Precision DNNs: All you need is a good parametrization,
ICLR 2020, arXiv 1905.11452. Quantizer and implied bits: `mpsearch.quant.learned_range`. Three parametrizations (section 2.1): `u3` learns
(step d, range m) and reads the bits b off them; `u1` learns (b, d) and `u2` (b, m), with `m = top(b) · d`, `top(b) = 2^(b−1) − 1` of
weights and `2^b − 1` of an unsigned activation; b is rounded, straight through. Those two are kept for comparison.

Without a budget bits are the allocation's and one number a tensor is learned: m with `d = m / top` (`u3`, `u2`; the paper's comparison at
fixed bits), or d (`u1`). With `weight_budget` or `act_budget` (mean bits S₀) that side learns its bits, from the allocation's downwards:

    loss + λ · relu(S_w − S₀_w)² + λ · relu(S_a − S₀_a)²                                                              (eq. 10)

`S_w = Σ N_l b_l / Σ N_l` over the weights that the allocation quantizes; `S_a` likewise over input elements (`sum`, eq. 8b), or
`max_l A_l b_l / max_l A_l` (`max`, eq. 8c). The paper counts kilobytes and scales λ with the square of the model's size; in mean bits one λ
serves all sizes, and the paper's 0.1 per kB² is about 100 on its ResNet-20. Beside so steep a term two stabilisers are essential: gradients
of d and m are clipped to [−d, d], so a step of plain gradient descent moves them by at most lr · d (Adam, which ignores magnitudes, is not
so bounded: lower `scale_lr`), and after each step d is brought back to where `1 ≤ m/d ≤ top` of the allocation. The penalty is 0 inside the
budget and the bits flicker around it; what is left above it after training is for the caller to take away.

Differences: d and m are one pair a layer, for weights times fixed ratios of the calibrated steps of its output channels; both start as
calibrated, not at max|w|; the grid is the library's, two's complement with its lowest code; bits stay between 2 and the allocation's;
gradients are clipped without a budget too (without, training diverged now and then); d and m stay within a factor 32 of their start
instead of the original's 2^−8 … 127, made for weights near 1; the bias is not quantized; `snap`, steps that are powers of two before
BatchNorm is folded in, is an option. An artifact holds one step an activation and no range: while activation bits are learned, evaluation
and export quantize to `m / top` at the allocation's bits, no coarser than training did. Which learning rate gave each published number
is UNVERIFIED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.methods import METHODS
from mpsearch.methods.base import Batch, Method
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.quant.channels import Rows
from mpsearch.quant.grid import Grid
from mpsearch.quant.learned_range import implied_bits, power_of_two, quantize_in_range, range_codes, round_straight

__all__ = ["LearnedRange"]

Parametrization = Literal["u3", "u2", "u1"]

_FACTOR = 32.0
"""How far step and range may leave their start; from 0 the clipped gradients would not lead back."""
_LOWEST_BITS = 2


class _Range(nn.Module):
    """Step and range of one tensor; shared by weights and activations, which supply grid and direction."""

    lo: Tensor
    hi: Tensor
    offset: Tensor
    bits: int
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
        """`[]`, largest value over step on the allocation's grid; never 0, not even where nothing is quantized."""
        return (self.hi + self.offset).clamp_min(0.5)

    def _two_levels(self) -> Tensor:
        return self.hi - self.lo == 1

    def _signed(self) -> Tensor:
        return (self.lo < 0).to(self.lo.dtype)

    def _reach(self) -> Tensor:
        """`m/d` at the learned width."""
        width = round_straight(self.width)
        return torch.exp2(width - self._signed()) - 1 + self.offset

    def raw_step(self) -> Tensor:
        """`[]`, d before snapping."""
        if "step" in self.learned:
            return self.step
        return self.top / (self._reach() if self.learns_bits else self.highest())

    def range_top(self) -> Tensor:
        """`[]`, m."""
        if "top" in self.learned:
            return self.top
        return self.step * (self._reach() if self.learns_bits else self.highest())

    def pair(self) -> tuple[Tensor, Tensor]:
        """(d, m) in force."""
        step, top = self.raw_step(), self.range_top()
        if self.learns_bits:  # two levels have no step apart from their range
            step = torch.where(self._two_levels(), top / self.highest(), step)
        return (power_of_two(step) if self.snap else step), top

    def bits_now(self) -> Tensor:
        """`[]`, the learned bits, with gradients."""
        lowest = min(self.bits, _LOWEST_BITS)
        if "width" in self.learned:
            return round_straight(self.width).clamp_min(lowest)
        step, top = self.pair()
        bits = implied_bits(top, step, self.offset, signed=self.grid.lo < 0, lowest=lowest)
        return bits - (bits - self.bits).clamp_min(0).detach()  # a step that was snapped down counts codes which the grid cuts off

    def whole_bits(self) -> float:
        """The learned bits as a number; 32 where nothing is quantized."""
        return float(self.bits if self.bits == FLOAT_BITS else self.bits_now().detach())

    def clip_gradients(self) -> None:
        """No step larger than `lr · d`, or lr bits."""
        limit = torch.minimum(self.raw_step(), self.range_top())
        for name in self.learned:
            parameter = getattr(self, name)
            if parameter.grad is not None:
                bound = torch.ones_like(limit) if name == "width" else limit
                parameter.grad.clamp_(-bound, bound)

    def project(self) -> None:
        """Positive, and `k ≥ 1` no finer than the allocation's grid."""
        highest = self.highest()
        if "top" in self.learned:
            self.top.clamp_(self.start * highest / _FACTOR, self.start * highest * _FACTOR)
        if "step" in self.learned:
            self.step.clamp_(self.start / _FACTOR, self.start * highest * _FACTOR)
        if "width" in self.learned:
            self.width.clamp_(min(self.bits, _LOWEST_BITS), self.bits)
        elif len(self.learned) == 2:
            least = torch.minimum(1 + self.offset, highest)
            self.step.copy_(torch.clamp(self.step, self.top / highest, self.top / least))


class _RangeWeight(_Range, WeightQuantizer):
    ratios: Tensor

    def __init__(self, rows: Rows, parametrization: Parametrization, learns_bits: bool, snap: bool) -> None:
        super().__init__(rows)
        self._setup(parametrization, learns_bits, snap)
        self.register_buffer("ratios", torch.ones(rows.channels))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        typical = steps.median()  # a dead channel's step of 1 would carry a mean away
        if self.snap:
            typical = power_of_two(typical)
        ratios = steps / typical
        self.ratios.copy_(power_of_two(ratios) if self.snap else ratios)
        self._begin(typical)

    def steps(self, weight: Tensor) -> Tensor:
        return self.pair()[0] * self.ratios

    def quantize(self, rows: Tensor) -> Tensor:
        return quantize_in_range(rows, *self._limits()) if self.learns_bits else super().quantize(rows)

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        if not self.learns_bits:
            return super().export(weight)
        limits = self._limits()
        return range_codes(self.rows.split(weight), *limits).to(torch.int16), limits[2].squeeze(1)

    def _limits(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        step, top = (value * self.ratios.unsqueeze(1) for value in self.pair())
        further = -self.lo - self.hi - 2 * self.offset  # 1 in two's complement, else 0
        top = top + torch.where(self._two_levels(), 0.5, 0.0) * step  # or every weight beyond one of two levels would be frozen
        return -(top + further * step), top, step, self.lo, self.hi, self.offset


class _RangeActivation(_Range, ActQuantizer):
    def __init__(self, parametrization: Parametrization, learns_bits: bool, snap: bool) -> None:
        super().__init__()
        self._setup(parametrization, learns_bits, snap)

    def begin(self, step: Tensor) -> None:
        self._begin(power_of_two(step) if self.snap else step)

    def step_value(self) -> Tensor:
        if not self.learns_bits:
            return self.pair()[0]
        step = self.range_top() / self.highest()
        return power_of_two(step) if self.snap else step

    def forward(self, x: Tensor) -> Tensor:
        compiling = torch.compiler.is_compiling()
        if not (self.learns_bits and self.training) or (not compiling and self.bits == FLOAT_BITS):
            return super().forward(x)
        step, top = self.pair()
        low = -self._signed() * (top + step)
        quantized = quantize_in_range(x, *(value.to(x.dtype) for value in (low, top, step, self.lo, self.hi, self.offset)))
        return torch.where(self.is_float, x, quantized) if compiling else quantized


@METHODS.register("learned_range")
@dataclass(frozen=True, kw_only=True)
class LearnedRange(Method):
    """Learned step and range, and with a budget learned bits (arXiv 1905.11452).

    Args:
        parametrization: what is learned: `u3` step and range, `u2` bits and range, `u1` bits and step.
        weight_budget: target mean weight bits; 0 takes weight bits as given.
        act_budget: target activation bits; 0 takes them as given.
        act_budget_kind: `sum`: mean over all activations' elements; `max`: bits of the activation that takes the most memory.
        penalty: λ, nats per squared bit.
        snap: whether steps are powers of two.

    Raises:
        ConfigError: a value out of its range.
    """

    paper: ClassVar[str] = "Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, ICLR 2020, arXiv 1905.11452"
    description: ClassVar[str] = "step and range trained by gradient; under a budget the bits that they imply as well"

    parametrization: Parametrization = "u3"
    weight_budget: float = 0.0
    act_budget: float = 0.0
    act_budget_kind: Literal["sum", "max"] = "sum"
    penalty: float = 100.0
    snap: bool = False

    def __post_init__(self) -> None:
        self.require(
            "learned_range",
            {
                "parametrization": (self.parametrization in ("u3", "u2", "u1"), "u3, u2 or u1"),
                "weight_budget": (self.weight_budget == 0 or _LOWEST_BITS <= self.weight_budget <= 8, "0 (bits as given) or from 2 to 8"),
                "act_budget": (self.act_budget == 0 or _LOWEST_BITS <= self.act_budget <= 8, "0 (bits as given) or from 2 to 8"),
                "act_budget_kind": (self.act_budget_kind in ("sum", "max"), "sum or max"),
                "penalty": (self.penalty > 0, "above 0"),
            },
        )

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Step and range of the layer, channels in fixed proportion."""
        return _RangeWeight(rows, self.parametrization, self.weight_budget > 0, self.snap)

    def act_quantizer(self) -> ActQuantizer:
        """One step and range."""
        return _RangeActivation(self.parametrization, self.act_budget > 0, self.snap)

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """The loss and the penalty of what lies above the budgets."""
        loss = batch.loss
        if self.weight_budget:
            loss = loss + self.penalty * _excess(_weights(network), self.weight_budget)
        if self.act_budget:
            loss = loss + self.penalty * _excess(_activations(network), self.act_budget, largest=self.act_budget_kind == "max")
        return loss

    def before_step(self, network: Network, progress: float) -> None:
        """Gradients of step and range within one step."""
        for quantizer in _quantizers(network):
            quantizer.clip_gradients()

    def after_step(self, network: Network, progress: float) -> None:
        """Steps and ranges stay positive and in order."""
        for quantizer in _quantizers(network):
            quantizer.project()

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Whole weight bits by layer name, those of float layers as they are; None without a weight budget."""
        if not self.weight_budget:
            return None
        quantizers = {layer.name: _range_of(network.weight_quantizer(layer)) for layer in network.space.layers}
        return {name: quantizer.whole_bits() for name, quantizer in quantizers.items()}

    def learned_act_bits(self, network: Network) -> Mapping[str, float] | None:
        """Whole activation bits by name of the layers that can quantize their input; None without an activation budget."""
        if not self.act_budget:
            return None
        quantizers = {layer.name: network.act_quantizer(layer) for layer in network.space.layers}
        return {name: _range_of(quantizer).whole_bits() for name, quantizer in quantizers.items() if quantizer is not None}


def _range_of(quantizer: WeightQuantizer | ActQuantizer) -> _Range:
    assert isinstance(quantizer, _Range)
    return quantizer


def _weights(network: Network) -> list[tuple[int, _Range]]:
    return [(layer.weights, _range_of(network.weight_quantizer(layer))) for layer in network.space.layers]


def _activations(network: Network) -> list[tuple[int, _Range]]:
    inputs = [(layer.input_elements, network.act_quantizer(layer)) for layer in network.space.layers]
    return [(elements, _range_of(quantizer)) for elements, quantizer in inputs if quantizer is not None]


def _quantizers(network: Network) -> list[_Range]:
    return [quantizer for _, quantizer in _weights(network) + _activations(network)]


def _excess(tensors: list[tuple[int, _Range]], budget: float, *, largest: bool = False) -> Tensor | float:
    """`relu(S − S₀)²` of (elements, range) pairs, in squared bits."""
    counted = [(elements, quantizer.bits_now()) for elements, quantizer in tensors if quantizer.bits != FLOAT_BITS]
    if not counted:
        return 0.0
    memory = torch.stack([elements * bits for elements, bits in counted])
    sizes = [elements for elements, _ in counted]
    return torch.relu((memory.max() / max(sizes) if largest else memory.sum() / sum(sizes)) - budget).square()
