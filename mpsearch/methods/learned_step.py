"""Quantizers whose steps are trained by gradient, as in LSQ; several methods build on them.

Esser, McKinstry, Bablani, Appuswamy, Modha: Learned Step Size Quantization, ICLR 2020, arXiv 1902.08153. Gradients of eq. 2 and 3 (see
`mpsearch.numbers.gradients.affine`), scaled by `1/√(n · hi)` with n elements per step (section 2.2).

Differences, each checked against other implementations in `tests/gold/test_lsq.py` (the authors published none):

- x gets its gradient until half a step beyond the outermost levels, not only between them, since at one bit that would freeze every
  weight above the scale. There the step's gradient is that of a rounding.
- n of a weight counts the values that share the step, in the implementation with one step per channel those of the whole tensor; n of an
  activation counts one sample, since the loss is a mean over the batch.

Own addition: a step stays within a factor of 4 of the calibrated one. BatchNorm leaves a channel's scale undetermined, and the gradient
grows as the step shrinks: at the learning rates that few bits need, one high-bit channel whose step goes to zero destabilises the network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import NUMBER_KINDS
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import codes, fake_quantize, fake_quantize_rows
from mpsearch.numbers.gradients.scaled_gradient import scale_gradient
from mpsearch.numbers.gradients.straight_through import straight_through
from mpsearch.numbers.offset_superblocks import on_offset_superblocks
from mpsearch.numbers.superblocks import on_superblocks

__all__ = ["LearnedStepActivation", "LearnedStepMethod", "LearnedStepWeight", "OffsetSuperblockWeight", "keep_near", "keep_steps_near"]

_MAX_RATIO = 4.0


class LearnedStepWeight(WeightQuantizer):
    """One learned step per row."""

    factor: Tensor
    start: Tensor

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.step = nn.Parameter(torch.ones(rows.count))
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("start", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Initialise with the calibrated steps."""
        self.step.data.copy_(steps)
        self.start.copy_(steps)
        self.factor.fill_(1 / math.sqrt(weight.shape[1] * max(self.grid.hi + self.grid.offset, 1)))

    def steps(self, weight: Tensor) -> Tensor:
        """The steps, `[C]`."""
        steps = scale_gradient(self.step, self.factor)
        if self.rows.granularity != "superblock":
            return steps
        return straight_through(steps, on_superblocks(steps, self.bits))


class OffsetSuperblockWeight(LearnedStepWeight):
    """One learned step per group of a superblock with offsets; an offset stays the same number of steps, as near as the file has it."""

    def steps(self, weight: Tensor) -> Tensor:
        """The steps, `[C]`."""
        return straight_through(scale_gradient(self.step, self.factor), self._stored()[0])

    def offsets(self) -> Tensor:
        """What is added to codes before they are multiplied by the step, `[C, 1]`."""
        steps, offsets = self._stored()
        return -(offsets / steps).unsqueeze(1)

    def quantize(self, rows: Tensor) -> Tensor:
        """Quantize rows `[C, n]`: the values of a file, the gradients of evenly spaced levels."""
        passed = fake_quantize_rows(rows, self.steps(rows), self.lo, self.hi, self.offsets())
        return straight_through(passed, NUMBER_KINDS["uniform"].decode(*self._exported(rows)))

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int16 `[C, n]`, and steps and offsets `[C, 2]`."""
        return self._exported(self.rows.split(weight))

    @torch.no_grad()
    def _exported(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        steps, offsets = self._stored()
        return codes(rows, steps.unsqueeze(1), self.grid, self.offsets()), torch.stack([steps, offsets], 1)

    @torch.no_grad()
    def _stored(self) -> tuple[Tensor, Tensor]:
        return on_offset_superblocks(self.step, -self.shift.squeeze(1) * self.step)


class LearnedStepActivation(ActQuantizer):
    """One learned step."""

    start: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("start", torch.ones(()))

    def begin(self, step: Tensor) -> None:
        """Initialise with the calibrated step."""
        self.step.data.copy_(step)
        self.start.copy_(step)

    def step_value(self) -> Tensor:
        """The step, `[]`."""
        return self.step

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize an activation; n is the number of elements of one sample, since the loss averages over the batch.

        The factor is computed here from tensors, so that compiled and eager training have the same one.
        """
        factor = (self.hi.double().clamp_min(1) * x[0].numel()).rsqrt().to(self.hi.dtype)
        return fake_quantize(x, scale_gradient(self.step, factor), self.lo, self.hi)


class LearnedStepMethod(Method):
    """A method whose activations are quantized as in LSQ."""

    def act_quantizer(self) -> ActQuantizer:
        """One learned step, as in LSQ."""
        return LearnedStepActivation()

    def after_step(self, network: Network, progress: float) -> None:
        """Keep steps near their initial values."""
        keep_steps_near(network)


def keep_steps_near(network: Network) -> None:
    """Clamp the steps of all LSQ quantizers to within a factor of 4 of their initial values."""
    for module in network.model.modules():
        if isinstance(module, LearnedStepWeight | LearnedStepActivation):
            keep_near(module.step, module.start)


def keep_near(step: Tensor, start: Tensor) -> None:
    """Clamp `step` to within a factor of 4 of `start`, in place."""
    step.clamp_(start / _MAX_RATIO, start * _MAX_RATIO)
