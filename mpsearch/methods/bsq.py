"""`bsq`: bit-level sparsity; every bit of every weight is trained, and a group lasso empties bit planes, which are then dropped.

Yang, Duan, Chen, Li: BSQ: Exploring Bit-Level Sparsity for Mixed-Precision Neural Network Quantization, ICLR 2021, arXiv 2102.10462;
details follow the authors' code. A layer of N planes has 2^(N+1) − 1 values: N + 1 bits here, sign included.

    minimise  loss + alpha · Σ_l (#W_l · N_l / Σ #W) · Σ_j ‖(p_j, n_j)‖        (eq. 5 and 6), then p, n ← clip(p, n, 0, 2)

At every `interval` of the training and at the end of the search, planes are re-quantized to exact digits, and empty planes at either end
are dropped (section 3.3). After the share `search` of the training, bits are fixed and the planes are fine-tuned; with `alpha = 0` from the
start.

Differences:

- One scale s per output channel instead of one per layer; its initial value has the least squared error instead of max|w|, and its gradient
  is divided by √n, n weights per row, as in LSQ. step = s / Σ places of the allocation's planes, so s keeps its meaning as planes go.
- Initial planes represent w/step itself: the digits of its rounding, and the remainder in the lowest plane.
- No plane is added above the allocation's highest: integers that would need one saturate, as they do at 8 planes in the original. Nor
  does a plane that is added ever hold a 2, as in the original, where a code would need two more planes; clipped planes have no such code.
- Gradients of the planes are divided by `2 · step² · Σ 4^j`. The optimum stays the same, and a step of SGD moves the represented weight as
  far as it would a float weight, wherever no plane is at its bound. Planes are quantizer parameters: no weight decay, `lr · scale_lr`.
- Dropping a plane moves no other plane and keeps the optimizer. Momentum continues per plane; dropped planes are set to zero after each
  step.
- Fine-tuning keeps the planes, and scales down those of a weight that leaves the grid, in place of the clipping of section 3.4.
- The weights' grid is `narrow` at 2 bits and more, regardless of `grid`. One bit has no planes to search: sign(p − n) on the mid-rise grid.
- A layer keeps at least two bits (one plane), even if all its weights are zero, where the paper counts zero bits.
- Activations are those of LSQ.

- The penalty is that of the paper. The authors' script adds each layer's term twice, so their alpha is half of ours: they sweep 3e-3 to
  2e-2 on ResNet-20, which is 6e-3 to 4e-2 here.

Planes take 14 numbers per weight, and as many again for gradients and momentum. A good alpha is UNVERIFIED. Section and equation numbers
are from memory: UNVERIFIED.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.methods import METHODS
from mpsearch.methods.base import Batch, mean_over_weights
from mpsearch.methods.learned_step import LearnedStepMethod
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.bit_planes import (
    PLANES,
    active_places,
    binary_planes,
    from_planes,
    largest_and_lowest,
    occupied,
    plane_norms,
    plane_sum,
)
from mpsearch.numbers.gradients.scaled_gradient import scale_gradient
from mpsearch.numbers.grid import Grid, GridStyle, stored_as_grid, weight_grid
from mpsearch.numbers.ranges import fit_steps

__all__ = ["Bsq", "PlaneWeight", "plane_sizes"]

_SMALLEST = 1e-8


class PlaneWeight(WeightQuantizer):
    """A weight as bit planes. The planes represent the weight; the float weight is read only in `begin`."""

    places: Tensor
    top: Tensor

    def __init__(self, rows: Rows, *, refit: bool) -> None:
        super().__init__(rows)
        shape = (PLANES, rows.count, math.prod(rows.shape) // rows.count)
        self.p = nn.Parameter(torch.zeros(shape))
        self.n = nn.Parameter(torch.zeros(shape))
        self.scale = nn.Parameter(torch.ones(rows.count))
        self.register_buffer("places", active_places(0, PLANES))
        self.register_buffer("top", self.places.sum())
        self.refit = refit
        self.rounds = 0

    def set_grid(self, bits: int, grid: Grid | None) -> None:
        """Set the `narrow` grid: planes are symmetric around zero."""
        super().set_grid(bits, None if grid is None else weight_grid(bits, "narrow"))

    def get_extra_state(self) -> dict[str, int]:
        """Bits, and the number of re-quantizations so far."""
        return {**super().get_extra_state(), "rounds": self.rounds}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Inverse of `get_extra_state`."""
        super().set_extra_state(state)
        self.rounds = state["rounds"]

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """See `WeightQuantizer.begin`."""
        steps = fit_steps(weight, self.grid) if self.refit else steps
        self.places.copy_(active_places(0, self.bits - 1))
        self.top.copy_(self.places.sum())
        self.scale.data.copy_(steps * self.top)
        self.rounds = 0
        bound = self.top * (2 if self.bits == 1 else 1)
        codes = torch.clamp(weight / self.steps(weight).unsqueeze(1), -bound, bound)
        digits = torch.zeros_like(codes) if self.bits == 1 else codes.round()
        p, n = binary_planes(digits)
        lowest = p[0] - n[0] + (codes - digits) / self.places[0]
        p[0], n[0] = lowest.clamp_min(0), (-lowest).clamp_min(0)
        self.p.data.copy_(p)
        self.n.data.copy_(n)

    def steps(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.steps`."""
        return scale_gradient(self.scale, torch.full_like(self.top, weight.shape[1] ** -0.5)) / self.top

    def planes(self) -> tuple[Tensor, Tensor]:
        """Planes p and n, with gradients in the units of a float weight."""
        step = self.scale.detach() / self.top
        rate = (0.5 / (step.square() * self.places.square().sum())).view(1, -1, 1)
        return scale_gradient(self.p, rate), scale_gradient(self.n, rate)

    def quantize(self, rows: Tensor) -> Tensor:
        """See `WeightQuantizer.quantize`."""
        return from_planes(*self.planes(), self.steps(rows), self.places, self.offset)

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `WeightQuantizer.export`."""
        steps = self.scale / self.top
        values = from_planes(self.p, self.n, torch.ones_like(steps), self.places, self.offset)
        return (values - self.offset).to(torch.int16), steps

    def planes_in_use(self) -> int:
        """N, the number of planes."""
        return int((self.places > 0).sum())

    def penalty(self) -> Tensor:
        """`N · Σ_j ‖(p_j, n_j)‖` over the planes in use, `[]`."""
        return (self.places > 0).sum() * plane_norms(*self.planes(), self.places).sum()

    def clip(self) -> None:
        """Clip planes in use to `[0, 2]`; set others to 0."""
        used = (self.places > 0).view(-1, 1, 1)
        for plane in (self.p, self.n):
            plane.clamp_(0, 2).mul_(used)
        self.scale.clamp_(min=_SMALLEST)

    def shrink(self) -> None:
        """Scale weights beyond the last code back to it; at one bit the bounds of the plane suffice, as far as LSQ's gradient reaches."""
        if self.bits > 1:
            beyond = plane_sum(self.p, self.n, self.places).abs_()
            ratio = (self.places.sum() / beyond.clamp_min_(_SMALLEST)).clamp_max_(1)
            self.p.mul_(ratio)
            self.n.mul_(ratio)

    def requantize(self, *, adjust: bool) -> None:
        """Set planes to the exact digits of the codes; with `adjust`, add at most one plane and drop empty ones, as the codes require."""
        if self.bits == 1:
            return
        largest, lowest = largest_and_lowest(self.places)
        integers = torch.round(plane_sum(self.p, self.n, self.places) / lowest) * lowest
        low, count = round(math.log2(float(lowest))), self.planes_in_use()
        high = low + count
        if adjust and high < self.bits - 1 and bool((integers.abs() > largest).any()):
            high += 1
        largest = active_places(low, high).sum().to(largest.device)
        integers = torch.clamp(integers, -largest, largest)
        p, n = binary_planes(integers)
        self.p.copy_(p)
        self.n.copy_(n)
        if adjust:
            low, high = occupied(integers, low, high)
        self.places.copy_(active_places(low, high))


@METHODS.register("bsq")
@dataclass(frozen=True, kw_only=True)
class Bsq(LearnedStepMethod):
    """Bit-level sparsity quantization (arXiv 2102.10462).

    Args:
        grid: no effect on training and export: planes are `narrow` from 2 bits up, and calibrated accordingly.
        alpha: strength of the lasso that empties bit planes; 0 takes the bits as given.
        interval: share of the training between re-quantizations.
        search: share of the training in which bits can change; the rest fine-tunes the planes.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Yang et al., BSQ: Exploring Bit-Level Sparsity for Mixed-Precision Quantization, ICLR 2021, arXiv 2102.10462"
    description: ClassVar[str] = "trains single bits; a group lasso empties bit planes, so bits are learned"

    kinds: ClassVar[frozenset[str]] = frozenset({"uniform", "ternary"})

    grid: GridStyle = "narrow"
    alpha: float = 0.0
    interval: float = 0.1
    search: float = 0.5

    def __post_init__(self) -> None:
        self.require(
            "bsq",
            alpha=(math.isfinite(self.alpha) and self.alpha >= 0, "0 or more"),
            interval=(0 < self.interval <= 1, "above 0 and at most 1"),
            search=(0 < self.search <= 1, "above 0 and at most 1"),
        )

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Bit planes, and a learned scale per output channel."""
        return PlaneWeight(rows, refit=self.grid != "narrow")

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """Codes of the `narrow` grid, regardless of `grid`."""
        found = super().stores(asked)
        return None if found is None else stored_as_grid(asked, "narrow")

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """`loss + alpha · Σ_l (#W_l N_l / Σ #W) Σ_j ‖(p_j, n_j)‖` while bits are searched."""
        if not self._searching(batch.progress):
            return batch.loss
        penalties = [(layer, quantizer.penalty()) for layer, quantizer in network.quantized(PlaneWeight)]
        return batch.loss + self.alpha * mean_over_weights(penalties)

    def after_step(self, network: Network, progress: float) -> None:
        """Clip planes and scales, re-quantize when due, and keep fine-tuned weights on the grid."""
        super().after_step(network, progress)
        due = self._rounds_due(progress)
        for _, quantizer in network.quantized(PlaneWeight):
            quantizer.clip()
            if due > quantizer.rounds:
                quantizer.requantize(adjust=True)
                quantizer.rounds = due
            if not self._searching(progress):
                quantizer.shrink()

    def after_epoch(self, network: Network, progress: float) -> None:
        """Re-quantize at the end of the training, so that planes are exact digits."""
        if progress >= 1:
            for _, quantizer in network.quantized(PlaneWeight):
                quantizer.requantize(adjust=self.alpha > 0)

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Planes in use + 1 by layer, 32 where weights are float; None if `alpha` is 0."""
        if self.alpha == 0:
            return None
        found = {
            layer.name: 1 if quantizer.bits == 1 else quantizer.planes_in_use() + 1 for layer, quantizer in network.quantized(PlaneWeight)
        }
        return {layer.name: float(found.get(layer.name, FLOAT_BITS)) for layer in network.space.layers}

    def _searching(self, progress: float) -> bool:
        return self.alpha > 0 and progress < self.search

    def _rounds_due(self, progress: float) -> int:
        if self.alpha == 0:
            return 0
        return math.floor(min(progress, self.search) / self.interval) + (progress >= self.search)


def plane_sizes(network: Network) -> dict[str, Tensor]:
    """`‖(p_j, n_j)‖`, `[7]`, of each plane in use (else 0), by name of each layer with two bits or more."""
    return {
        layer.name: plane_norms(quantizer.p.detach(), quantizer.n.detach(), quantizer.places)
        for layer, quantizer in network.quantized(PlaneWeight)
        if quantizer.bits > 1
    }
