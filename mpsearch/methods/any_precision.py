"""Quantizers with a learned step for every bit width, so that one set of weights serves all allocations.

Yu, Li, Shi, Huang, Hua: Any-Precision Deep Neural Networks, AAAI 2021, arXiv 1911.07346. A learned range for each bit width as in Jin,
Yang, Liao: AdaBits, CVPR 2020, arXiv 1912.09666, section 3 (clipping levels there, steps here), with LSQ's gradients (see
`mpsearch.numbers.gradients.affine`). The method is not registered, since it cannot retrain a winner; `mpsearch.training.supernet` trains
with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mpsearch.methods.base import Method
from mpsearch.methods.learned_step import keep_near
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.scaled_gradient import scale_gradient

__all__ = ["AnyPrecision", "AnyStepActivation", "AnyStepWeight"]


class AnyStepWeight(WeightQuantizer):
    """One learned step per output channel and bit width.

    Args:
        rows: layout of the weight.
        widths: bit widths that get steps.
    """

    def __init__(self, rows: Rows, widths: tuple[int, ...]) -> None:
        super().__init__(rows)
        _add_steps(self, widths, (rows.count,))
        self._kept: dict[int, Tensor] | None = None
        self._kept_as = torch.float32

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Initialise the steps of the present bit width with calibrated ones."""
        _begin(self, steps)

    def steps(self, weight: Tensor) -> Tensor:
        """Steps of the present bit width, `[C]`."""
        step = _step_of(self)
        top = max(self.grid.hi + self.grid.offset, 1)
        return scale_gradient(step, step.new_tensor(1 / math.sqrt(weight.shape[1] * top)))

    def forward(self, weight: Tensor) -> Tensor:
        """Quantize a weight; after `keep`, return the cached result."""
        if self._kept is None:
            return super().forward(weight)
        if self.bits not in self._kept:
            with torch.no_grad():
                self._kept[self.bits] = super().forward(weight.detach()).to(self._kept_as)
        return self._kept[self.bits]

    def keep(self, dtype: torch.dtype = torch.float32) -> None:
        """Cache the quantized weight of each bit width from now on, in `dtype`; for a network that is no longer trained."""
        self._kept, self._kept_as = {}, dtype


class AnyStepActivation(ActQuantizer):
    """One learned step per bit width.

    Args:
        widths: bit widths that get a step.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        _add_steps(self, widths, ())
        self._elements = 1

    def begin(self, step: Tensor) -> None:
        """Initialise the step of the present bit width with the calibrated one."""
        _begin(self, step)

    def step_value(self) -> Tensor:
        """Step of the present bit width, `[]`."""
        step = _step_of(self)
        return scale_gradient(step, step.new_tensor(1 / math.sqrt(self._elements * max(self.grid.hi, 1))))

    def forward(self, x: Tensor) -> Tensor:
        """Quantize an activation; n of LSQ is the number of elements of one sample."""
        self._elements = max(x[0].numel(), 1) if x.dim() else 1
        return super().forward(x)


@dataclass(frozen=True, kw_only=True)
class AnyPrecision(Method):
    """Shared weights with steps for every bit width (arXiv 1911.07346, 1912.09666).

    Args:
        weight_widths: weight bit widths below float on the menus.
        act_widths: activation bit widths below float on the menus.
    """

    paper: ClassVar[str] = "Yu et al., Any-Precision Deep Neural Networks, AAAI 2021, arXiv 1911.07346"
    description: ClassVar[str] = "shared weights with steps for every bit width"
    compilable: ClassVar[bool] = False

    weight_widths: tuple[int, ...]
    act_widths: tuple[int, ...] = ()

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Steps per output channel and bit width."""
        return AnyStepWeight(rows, self.weight_widths)

    def act_quantizer(self) -> ActQuantizer:
        """One step per bit width."""
        return AnyStepActivation(self.act_widths)

    def after_step(self, network: Network, progress: float) -> None:
        """Keep steps near their initial values, as `lsq` does."""
        for module in network.model.modules():
            if isinstance(module, AnyStepWeight | AnyStepActivation):
                for name, start in module.named_buffers(recurse=False):
                    if name.startswith("start"):
                        keep_near(module.get_parameter(name.replace("start", "step")), start)


def _add_steps(quantizer: nn.Module, widths: tuple[int, ...], shape: tuple[int, ...]) -> None:
    # Separate parameters, not one of shape [widths, C]: an unused width has no gradient, so the optimizer does not move it.
    for bits in widths:
        quantizer.register_parameter(f"step{bits}", nn.Parameter(torch.ones(shape)))
        quantizer.register_buffer(f"start{bits}", torch.ones(shape))


def _begin(quantizer: WeightQuantizer | ActQuantizer, steps: Tensor) -> None:
    _step_of(quantizer).data.copy_(steps)
    quantizer.get_buffer(f"start{quantizer.bits}").copy_(steps)


def _step_of(quantizer: WeightQuantizer | ActQuantizer) -> nn.Parameter:
    return quantizer.get_parameter(f"step{quantizer.bits}")
