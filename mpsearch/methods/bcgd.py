"""`bcgd`: weights are blended with their quantized values at every step; activation steps are learned by a coarse gradient.

Yin, Zhang, Lyu, Osher, Qi, Xin: Blended Coarse Gradient Descent for Full Quantization of Deep Neural Networks, Res. Math. Sci. 6:14, 2019,
arXiv 1808.05240. With Q the projection onto the grid, its step refitted to the weights in every forward pass:

    w ← (1 − ρ) w + ρ Q(w) − η · direction(∂L/∂Q(w))

The blend precedes the optimizer: momentum does not contain it, and weight decay acts on the blended weights. With an exact Q, plain
gradient descent and η < ρ/Lipschitz, the loss of the quantized weights never rises. ρ = 0 is the straight-through estimator.

Weights: `Q` by `mpsearch.numbers.least_squares`, one scale per output channel instead of one per layer. `narrow` at 2 bits is the
published ternary case, and its step is the least-squares one (the original code averages over the zeros too, which multiplies the step by
the share of the other weights). A sweep starts from the calibrated ratio to mean|w|, which is near the optimum; the published initial
steps, `start="published"`, are 2 max|w|/(2^b − 1) and, ternary, 1.4 mean|w|, a threshold of 0.7. As in the exported codes, half-way weights
round to even (published: towards zero, ternary away from it), and at one bit a weight of 0 is +step/2 (published: 0).

Activations: the published staircase rounds up; here it rounds to nearest, in training as in the exported network.
The derivatives are the published ones (`mpsearch.numbers.coarse`). The step is trained relative to its calibrated value,
`step = ratio · start`, and rate, clamp to ±1 and bounds apply to the ratio, so they are valid for any number of bits and any scale of
the input. For a unit normal input at 4 bits (start 0.1946) the published rate 0.01 is 0.26 here, and the published bounds
[1e-3, 5] on the step are those below; they apply after each optimizer step, not in the next forward pass. The clamp applies to the sum
over the batch, as published. Steps have no weight decay (published: that of the weights).

UNVERIFIED: the paper's wording of the ternary and Lloyd schemes, its learning rate for fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.coarse import StepRule, coarse_quantize
from mpsearch.numbers.gradients.straight_through import straight_through
from mpsearch.numbers.least_squares import alternate, first_steps
from mpsearch.numbers.proportional import ratio_to_mean, step_from_mean

__all__ = ["Bcgd"]

_PUBLISHED_START = 0.1946
"""Their step for a unit normal input at 4 bits."""
_RATIO_BOUNDS = (1e-3 / _PUBLISHED_START, 5 / _PUBLISHED_START)


class _BcgdWeight(WeightQuantizer):
    ratio: Tensor

    def __init__(self, rows: Rows, method: Bcgd) -> None:
        super().__init__(rows)
        self.method = method
        self.register_buffer("ratio", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        self.ratio.copy_(ratio_to_mean(weight, steps))

    def steps(self, weight: Tensor) -> Tensor:
        return self.project(weight)[1]

    @torch.no_grad()
    def project(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Levels `[C, n]` and steps `[C]` of Q(rows)."""
        start = first_steps(rows, self.lo, self.hi) if self.method.start == "published" else step_from_mean(rows, self.ratio)
        return alternate(rows, start, self.lo, self.hi, self.offset, self.method.sweeps)

    def quantize(self, rows: Tensor) -> Tensor:
        levels, steps = self.project(rows.detach())
        return straight_through(rows, levels * steps.unsqueeze(1))

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        levels, steps = self.project(self.rows.split(weight))
        return (levels - self.offset).to(torch.int16), steps


class _BcgdActivation(ActQuantizer):
    start: Tensor

    def __init__(self, method: Bcgd) -> None:
        super().__init__()
        self.method = method
        self.ratio = nn.Parameter(torch.ones(()))
        self.register_buffer("start", torch.ones(()))

    def begin(self, step: Tensor) -> None:
        self.start.copy_(step)
        self.ratio.data.fill_(1)

    def step_value(self) -> Tensor:
        return self.ratio * self.start

    def quantize(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().quantize(x)
        return coarse_quantize(x, self.step_value(), self.lo, self.hi, self.method.step_gradient)


@METHODS.register("bcgd")
@dataclass(frozen=True, kw_only=True)
class Bcgd(Method):
    """Blended coarse gradient descent (arXiv 1808.05240).

    Args:
        rho: share of the quantized weight in the blend at every step; takes effect after about 1/ρ steps, so raise it in short trainings.
        start: initial step of the first sweep: `calibrated` or `published`.
        sweeps: code assignments and step refits in each forward pass; 1 in the original code.
        step_gradient: derivative with respect to the activation's step: `three`-valued, `two`-valued or `full`.
        rate: factor on that gradient before it is clamped to ±1.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Yin et al., Blended Coarse Gradient Descent for Full Quantization of DNNs, 2019, arXiv 1808.05240"
    description: ClassVar[str] = "weights blended with their projection at each step, activation steps by a three-valued coarse gradient"

    rho: float = 1e-5
    start: Literal["calibrated", "published"] = "calibrated"
    sweeps: int = 1
    step_gradient: StepRule = "three"
    rate: float = 0.26

    def __post_init__(self) -> None:
        self.require(
            "bcgd",
            rho=(0 <= self.rho <= 1, "from 0 to 1; the paper has 1e-5"),
            sweeps=(self.sweeps >= 1, "1 or more"),
            rate=(self.rate >= 0, "0 or more; 0 leaves the steps of activations as calibrated"),
        )

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Projection onto the grid with a step refitted to the weights."""
        return _BcgdWeight(rows, self)

    def act_quantizer(self) -> ActQuantizer:
        """One step with a coarse gradient."""
        return _BcgdActivation(self)

    def before_step(self, network: Network, progress: float) -> None:
        """Blend the latent weights with their quantized values; scale and clamp the gradients of activation steps."""
        for parameter in network.quantizer_parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.rate).clamp_(-1, 1)
        for layer, quantizer in network.quantized(_BcgdWeight):
            weight = network.latent_weight(layer)
            weight.lerp_(quantizer(weight), self.rho)

    def after_step(self, network: Network, progress: float) -> None:
        """Keep activation steps within the published bounds."""
        for parameter in network.quantizer_parameters():
            parameter.clamp_(*_RATIO_BOUNDS)
