"""`cpq`: CPQ-style quantization; gradients cluster weights on the grid, and DropBits learns a layer's bits by dropping outer levels.

After Lee, Yun, Hwang, Yang: Cluster-Promoting Quantization with Bit-Drop for Minimizing Network Quantization Loss, ICCV 2021,
arXiv 2109.02100. "-style": estimator and masks are written from public descriptions and memory, not checked against the paper
(UNVERIFIED: form of π, constants and sharing of the masks, form and strength of the regularizer, hyperparameters).

The value is the most probable level of a categorical distribution, that is plain rounding; its gradient runs through that level's
probability (`mpsearch.numbers.gradients.categorical`). It vanishes on a level and grows towards the bin's edges. It is biased: it has the
sign of the straight-through gradient for |x| < |level| and the opposite sign beyond.

DropBits: in training, each width b' = 3 … b has a hard concrete mask, drawn anew each step, for the levels that b' bits have and b' − 1
bits do not; a level survives if its own or any wider mask does. With `bit_penalty > 0` the masks' logits learn bits in the first part of
the training,

    minimise  loss + bit_penalty · Σ_l (#W_l / Σ #W) · (E[bits of l under its masks] − 2)

after which bits are frozen, masks are removed, and training continues. Evaluation uses no random masks: it has all levels of the given
bits, or, while bits are learned, those up to the widest width whose noiseless gate is open.

Own choices where the paper's are unknown, and deviations:

- Step and noise scale per output channel, plain parameters; spread/step is kept in [0.05, 2]. The spread has LSQ's gradient scale. Codes
  have no gradient to the step here, so its gradient is `Σ h ∂L/∂ŵ` where LSQ's is `Σ (h − w/step) ∂L/∂ŵ`, larger in proportion to the
  levels h: it is divided by √n and by the square of the largest level, which moves the range as fast as one bit moves its step.
- `normalize` divides the gradient through π by the largest level. As published it grows with the level, 127-fold at 8 bits.
- `straight` mixes in the straight-through gradient. Alone, the published gradient has the wrong sign for half the weights: a small network
  at 8 bits trained by it ended far above the loss of calibration alone. From 0.4 on, with `normalize` and spread ≥ step/3, no weight's
  gradient inside the grid is reversed, and weights still cluster.
- `zero_bin`: with `literal`, weights that round to zero get no gradient through π; `ste` gives them the straight-through gradient.
- The regularizer counts nested masks: the sum of independent ones would close inner masks, without effect on the loss, while an outer mask
  is open.
- Weights are clipped one step beyond the outermost levels, since farther out no gradient would bring them back.
- All grids: on `narrow` levels are dropped in pairs ±k; on `twos` the lowest code is dropped with the highest; `half` has no zero and
  keeps its two inner pairs. The grid of 2 bits is never dropped, so 1 and 2 bits have no masks.
- Masks are drawn once per step, not per forward pass, so a weight used twice in a pass has the same value. The first step keeps all levels.
- Masks are shared by bits only, not by single pairs of levels.
- Activations are those of LSQ: the paper quantizes them likewise, but how it keeps their gradient alive is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods import METHODS
from mpsearch.methods.base import Batch, mean_over_weights
from mpsearch.methods.learned_step import LearnedStepMethod
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import codes
from mpsearch.numbers.gradients.categorical import Limits, Shape, mode, mode_of_masked
from mpsearch.numbers.gradients.hard_concrete import gate, keep_probability, logistic_noise, logit_of, nested, nested_probability, sample
from mpsearch.numbers.gradients.scaled_gradient import scale_gradient
from mpsearch.numbers.grid import Grid, GridStyle, weight_grid

__all__ = ["CategoricalWeight", "Cpq", "expected_bits", "mask_logits"]

_SMALLEST = 1e-8
_WIDTHS = (2, 3, 4, 5, 6, 7, 8)
_NO_NOISE = 30.0


class CategoricalWeight(WeightQuantizer):
    """A weight under logistic noise. `low` and `high` limit the present codes, `lo` and `hi` those of the given bits."""

    low: Tensor
    high: Tensor
    lows: Tensor
    highs: Tensor
    noise: Tensor
    available: Tensor

    def __init__(self, rows: Rows, method: Cpq) -> None:
        super().__init__(rows)
        self.method = method
        self.step = nn.Parameter(torch.ones(rows.count))
        self.spread = nn.Parameter(torch.ones(rows.count))
        self.phi = nn.Parameter(torch.zeros(len(_WIDTHS) - 1))
        grids = [weight_grid(width, method.grid) for width in _WIDTHS]
        self.register_buffer("lows", torch.tensor([float(grid.lo) for grid in grids]))
        self.register_buffer("highs", torch.tensor([float(grid.hi) for grid in grids]))
        self.register_buffer("available", torch.zeros(len(_WIDTHS) - 1))
        self.register_buffer("noise", torch.zeros(len(_WIDTHS) - 1))
        self.register_buffer("low", self.lo.clone())  # a layer that stays float needs a grid as well when it is compiled
        self.register_buffer("high", self.hi.clone())
        self.dropping = False

    def get_extra_state(self) -> dict[str, int]:
        """Bits, and whether masks are drawn."""
        return {**super().get_extra_state(), "dropping": int(self.dropping)}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Inverse of `get_extra_state`."""
        super().set_extra_state(state)
        self.dropping = bool(state["dropping"])

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """See `WeightQuantizer.begin`."""
        self.step.data.copy_(steps)
        self.spread.data.copy_(steps / 3)
        self.phi.data.fill_(logit_of(self.method.keep))
        self.available.copy_(torch.tensor([float(width <= self.bits) for width in _WIDTHS[1:]]))
        self.noise.fill_(_NO_NOISE)
        self.low.copy_(self.lo)
        self.high.copy_(self.hi)

    def steps(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.steps`."""
        return scale_gradient(self.step, (weight.shape[1] ** 0.5 * self._largest().clamp_min(1).square()).reciprocal())

    def quantize(self, rows: Tensor) -> Tensor:
        """See `WeightQuantizer.quantize`."""
        drawn = self.training and self.dropping
        if not torch.compiler.is_compiling():
            return self._masked(rows, self.bits - 1) if drawn and self.bits > 2 else self._unmasked(rows)
        unmasked = self._unmasked(rows)
        return torch.where(self.available[0] > 0, self._masked(rows, len(_WIDTHS)), unmasked) if drawn else unmasked

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `WeightQuantizer.export`."""
        steps = self.step.detach()
        grid = Grid(int(self.low), int(self.high), self.grid.offset)
        return codes(self.rows.split(weight), steps.unsqueeze(1), grid), steps

    def width(self) -> int:
        """Bits of the present grid."""
        return 1 + int(self.high).bit_length()

    def extra_bits(self) -> Tensor:
        """`E[bits] − 2` under the masks, `[]`."""
        return nested_probability(keep_probability(self.phi) * self.available).sum()

    def redraw(self) -> None:
        """Draw the masks of the next step."""
        self.noise.copy_(logistic_noise(self.noise))

    def follow_gates(self) -> None:
        """Limit the codes to those of the widest open gate."""
        kept = (gate(self.phi) * self.available > 0).to(self.highs.dtype)
        kept = torch.cat([torch.ones_like(kept[:1]), kept])
        self.high.copy_(torch.minimum((self.highs * kept).max(), self.hi))
        self.low.copy_(torch.maximum((self.lows * kept).min(), self.lo))

    def project(self, weight: Tensor) -> None:
        """Clamp step and spread to their ranges, and the float weight to one step beyond the levels."""
        self.step.clamp_(min=_SMALLEST)
        self.spread.clamp_(0.05 * self.step, 2 * self.step)
        low, high = (self.lo, self.hi) if self.dropping else (self.low, self.high)
        rows = self.rows.split(weight)
        bounds = [(limit * self.step).unsqueeze(1) for limit in (low + self.offset - 1, high + self.offset + 1)]
        weight.copy_(self.rows.join(torch.clamp(rows, *bounds).contiguous()))

    def _unmasked(self, rows: Tensor) -> Tensor:
        return mode(rows, *self._scales(rows), Limits(self.low, self.high, self.offset), self._shape())

    def _masked(self, rows: Tensor, widths: int) -> Tensor:
        """Value under the masks of the first `widths` widths; wider ones are dropped in any case."""
        masks = nested(sample(self.phi, self.noise) * self.available)
        keep = torch.cat([torch.ones_like(masks[:1]), masks])[:widths]
        grids = Limits(self.lows[:widths], self.highs[:widths], self.offset)
        return mode_of_masked(rows, *self._scales(rows), keep, grids, self._shape())

    def _scales(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        balance = (rows.shape[1] * self._largest().clamp_min(1)).rsqrt()
        return self.steps(rows), scale_gradient(self.spread, balance)

    def _shape(self) -> Shape:
        gain = self._largest().reciprocal() if self.method.normalize else torch.ones_like(self.high)
        return Shape(gain, self.method.straight, self.method.zero_bin == "ste")

    def _largest(self) -> Tensor:
        return torch.maximum(self.high + self.offset, -(self.low + self.offset))


@METHODS.register("cpq")
@dataclass(frozen=True, kw_only=True)
class Cpq(LearnedStepMethod):
    """CPQ-style quantization with DropBits (after arXiv 2109.02100).

    Args:
        grid: of the weights.
        dropbits: whether masks are drawn in training.
        bit_penalty: penalty of one bit in all weights, in units of the loss; above 0 masks learn bits, 0 takes bits as given.
        keep: initial probability that a mask is above zero.
        search: share of the training in which bits are learned; the rest trains with bits frozen and no masks.
        zero_bin: gradient of weights that round to zero, none (`literal`) or the straight-through one (`ste`).
        normalize: whether the gradient through the probabilities is divided by the largest level.
        straight: share of the straight-through gradient; 0 leaves only the multi-class one.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "after Lee et al., Cluster-Promoting Quantization with Bit-Drop, ICCV 2021, arXiv 2109.02100"
    description: ClassVar[str] = "CPQ-style: gradients cluster weights on the grid; DropBits drops outer levels and can learn bits"

    kinds: ClassVar[frozenset[str]] = frozenset({"uniform"})

    grid: GridStyle = "narrow"
    dropbits: bool = False
    bit_penalty: float = 0.0
    keep: float = 0.9
    search: float = 0.5
    zero_bin: Literal["literal", "ste"] = "ste"
    normalize: bool = True
    straight: float = 0.5

    def __post_init__(self) -> None:
        self.require(
            "cpq",
            bit_penalty=(math.isfinite(self.bit_penalty) and self.bit_penalty >= 0, "0 or more"),
            keep=(0 < self.keep < 1, "between 0 and 1"),
            search=(0 < self.search <= 1, "above 0 and at most 1"),
            straight=(0 <= self.straight <= 1, "from 0 to 1"),
            zero_bin=(self.zero_bin in ("literal", "ste"), "literal or ste"),
        )

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Step and noise scale per output channel, one mask logit per width."""
        return CategoricalWeight(rows, self)

    def begin(self, network: Network) -> None:
        """Enable masks, which are drawn from the second step on, if the settings ask for them."""
        self._draw_masks(network, self.dropbits or self.bit_penalty > 0)

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """`loss + bit_penalty · Σ_l (#W_l / Σ #W) (E[bits] − 2)` while bits are learned."""
        if self.bit_penalty == 0:
            return batch.loss
        extra = [(layer, quantizer.extra_bits()) for layer, quantizer in network.quantized(CategoricalWeight) if quantizer.dropping]
        return batch.loss + self.bit_penalty * mean_over_weights(extra)

    def after_step(self, network: Network, progress: float) -> None:
        """Project parameters, draw the next step's masks, and let bits follow the gates until the search is over."""
        super().after_step(network, progress)
        for layer, quantizer in network.quantized(CategoricalWeight):
            if quantizer.dropping:
                if self.bit_penalty > 0:
                    quantizer.follow_gates()
                quantizer.redraw()
            quantizer.project(network.latent_weight(layer))
        if self.bit_penalty > 0 and progress >= self.search:
            self._draw_masks(network, False)

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Present bits by layer, 32 for float weights; None if `bit_penalty` is 0."""
        if self.bit_penalty == 0:
            return None
        found = {layer.name: quantizer.width() for layer, quantizer in network.quantized(CategoricalWeight)}
        return {layer.name: float(found.get(layer.name, FLOAT_BITS)) for layer in network.space.layers}

    def _draw_masks(self, network: Network, enabled: bool) -> None:
        """Enable or disable masks, also for float weights, so that compiled code sees one state of all quantizers."""
        for layer in network.space.layers:
            cast(CategoricalWeight, network.weight_quantizer(layer)).dropping = enabled


def expected_bits(network: Network) -> dict[str, float]:
    """`E[bits]` under the masks by layer name, also if masks are disabled; 32 for float weights."""
    masked = network.quantized(CategoricalWeight)
    found = {layer.name: min(quantizer.bits, 2) + float(quantizer.extra_bits().detach()) for layer, quantizer in masked}
    return {layer.name: found.get(layer.name, float(FLOAT_BITS)) for layer in network.space.layers}


def mask_logits(network: Network) -> dict[str, nn.Parameter]:
    """Logits `[6]` of the masks of 3 to 8 bits, by name of each layer with quantized weights."""
    return {layer.name: quantizer.phi for layer, quantizer in network.quantized(CategoricalWeight)}
