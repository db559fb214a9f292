"""`lsq`: learned step size quantization; steps are trained with the weights.

Esser, McKinstry, Bablani, Appuswamy, Modha: Learned Step Size Quantization, ICLR 2020, arXiv 1902.08153. Gradients of eq. 2 and 3
(see `mpsearch.quant.affine`), scaled by `1/√(n · hi)` with n elements a step (section 2.2). Differences: one step an output channel
instead of one a layer; steps start at the least squared error instead of `2⟨|v|⟩/√hi`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.quant.channels import Rows

__all__ = ["Lsq"]

_SMALLEST = 1e-8


def _scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    scaled = x * factor
    return (x - scaled).detach() + scaled


class _LsqWeight(WeightQuantizer):
    factor: Tensor

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.step = nn.Parameter(torch.ones(rows.channels))
        self.register_buffer("factor", torch.ones(()))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        self.step.data.copy_(steps)
        self.factor.fill_(1 / math.sqrt(weight.shape[1] * max(self.grid.hi + self.grid.offset, 1)))

    def steps(self, weight: Tensor) -> Tensor:
        return _scale_gradient(self.step, self.factor)


class _LsqActivation(ActQuantizer):
    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("factor", torch.ones(()))

    def begin(self, step: Tensor) -> None:
        self.step.data.copy_(step)
        self.factor.fill_(1 / math.sqrt(self.grid.hi))

    def step_value(self) -> Tensor:
        return _scale_gradient(self.step, self.factor)

    def forward(self, x: Tensor) -> Tensor:
        """The elements of one sample count as n, as in the paper: the gradient is summed over the batch, the loss averages it."""
        if self.training and not torch.compiler.is_compiling() and self.bits < 32:
            self.factor.fill_((x[0].numel() * max(self.grid.hi, 1)) ** -0.5)
        return super().forward(x)


@METHODS.register("lsq")
@dataclass(frozen=True, kw_only=True)
class Lsq(Method):
    """Learned step size quantization (arXiv 1902.08153)."""

    paper: ClassVar[str] = "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv 1902.08153"
    description: ClassVar[str] = "steps trained by gradient together with the weights"

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Learned step by output channel."""
        return _LsqWeight(rows)

    def act_quantizer(self) -> ActQuantizer:
        """One learned step."""
        return _LsqActivation()

    def after_step(self, network: Network, progress: float) -> None:
        """Steps stay positive."""
        for parameter in network.quantizer_parameters():
            parameter.clamp_(min=_SMALLEST)
