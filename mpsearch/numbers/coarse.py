"""Activation quantizer with coarse gradients: surrogate derivatives of the staircase function.

Yin, Zhang, Lyu, Osher, Qi, Xin: Blended Coarse Gradient Descent, arXiv 1808.05240. For `value = step · clamp(round(x/step), lo, hi)`:

    ∂value/∂x    = 1 for lo · step < x ≤ hi · step, else 0

| ∂value/∂step | x ≤ 0 | 0 < x ≤ hi · step | x > hi · step |
|---|---|---|---|
| three-valued | 0 | (hi + 1)/2 | hi |
| two-valued (PACT, arXiv 1805.06085) | 0 | 0 | hi |
| full, the true derivative almost everywhere | 0 | the code | hi |

On a signed grid the last two columns are mirrored to negative x, with lo for hi and (lo − 1)/2 for (hi + 1)/2 (UNPUBLISHED: the paper has
only ReLU).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mpsearch.numbers.gradients.affine import fake_quantize

__all__ = ["STEP_RULES", "StepRule", "coarse_quantize"]

StepRule = Literal["three", "two", "full"]
STEP_RULES: tuple[str, ...] = get_args(StepRule)


def coarse_quantize(x: Tensor, step: Tensor, lo: Tensor, hi: Tensor, rule: StepRule = "three") -> Tensor:
    """Exactly `fake_quantize` in the forward pass, with the derivatives above; `x` of any shape, `step` of shape `[]`."""
    with torch.no_grad():
        value = fake_quantize(x, step, lo, hi)
    result: Tensor = _Coarse.apply(x, value, step, lo, hi, rule)
    return result


class _Coarse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, step: Tensor, lo: Tensor, hi: Tensor, rule: StepRule) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x, value, step, lo, hi)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dy,) = grads
        x, value, step, lo, hi = ctx.saved_tensors
        bottom, top, end = lo * step, hi * step, torch.full_like(step, torch.inf)
        dx = _within(dy, x, bottom, top)
        if not ctx.needs_input_grad[2]:
            return dx, None, None, None, None, None
        signed = torch.compiler.is_compiling() or x.is_cuda or bool(lo < 0)  # a free check on the CPU; unsigned grids are cheaper
        dstep = hi * _sum(_within(dy, x, top, end))
        if signed:
            dstep = dstep + lo * _sum(_within(dy, x, -end, bottom))
        if ctx.rule == "full":
            dstep = dstep + _sum(dx * value) / step
        elif ctx.rule == "three" and signed:
            zero = torch.zeros_like(step)
            below_zero = zero - torch.finfo(step.dtype).tiny
            dstep = dstep + (hi + 1) / 2 * _sum(_within(dx, x, zero, top)) + (lo - 1) / 2 * _sum(_within(dx, x, bottom, below_zero))
        elif ctx.rule == "three":
            dstep = dstep + (hi + 1) / 2 * _sum(dx)
        return dx, None, dstep.to(step.dtype).reshape(step.shape), None, None, None


def _within(dy: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`dy` where `low < x ≤ high`, else 0; one pass on the CPU."""
    if torch.compiler.is_compiling() or x.is_cuda:
        return torch.where((x > low) & (x <= high), dy, torch.zeros((), dtype=dy.dtype, device=dy.device))
    beyond = torch.nextafter(high, torch.full_like(high, torch.inf))
    return torch.ops.aten.hardtanh_backward(dy, x, low.item(), beyond.item())  # type: ignore[no-any-return]


def _sum(values: Tensor) -> Tensor:
    return values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
