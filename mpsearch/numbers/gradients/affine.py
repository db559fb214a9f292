"""The uniform quantizer: `code = clamp(round(x/step − offset), lo, hi)`, `value = (code + offset) · step`.

Training, signals, export and the loader call the same functions for evenly spaced formats. Rounding is half to even.

Gradients (LSQ, Esser et al., arXiv 1902.08153, eq. 2 and 3; step in the units of x):

    ∂value/∂x    = 1 if x is inside the grid, else 0
    ∂value/∂step = (value − x)/step inside, value/step outside

Since the gradient of x is already `dx = dy · inside`, the step's gradient is `(Σ dy·value − Σ dx·x)/step`: two inner products over
tensors that are kept in any case: x, and the value that the layer saves for its own backward pass. No mask and no temporary is stored.

"Inside" means closer to a level than half a step, `lo − ½ ≤ x/step − offset ≤ hi + ½`: the bound in LSQ is the last level, which at
one bit would freeze every weight above the scale.

`lo`, `hi` and `offset` are 0-dimensional tensors, not Python constants, so that one compiled network serves every allocation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpsearch.numbers.grid import Grid

__all__ = ["codes", "dequantize", "fake_quantize", "fake_quantize_rows"]


def codes(x: Tensor, step: Tensor, grid: Grid, offset: Tensor | float | None = None) -> Tensor:
    """Integer codes of `x`, int16, same shape; `step` broadcasts against `x` (rows: `[C, 1]`; one tensor: `[]`).

    `offset` replaces that of the grid, for example with one per row, `[C, 1]`.
    """
    return _round(x, step, grid.offset if offset is None else offset).clamp_(grid.lo, grid.hi).to(torch.int16)


def dequantize(code: Tensor, step: Tensor, offset: float) -> Tensor:
    """`(code + offset) · step`, float32, same shape as `code`."""
    return code.to(torch.float32).add_(offset).mul_(step)


def fake_quantize(x: Tensor, step: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Quantize and dequantize an activation, any shape, with one `step` of shape `[]`; gradients as above."""
    result: Tensor = _PerTensor.apply(x, step, lo, hi)
    return result


def fake_quantize_rows(x: Tensor, step: Tensor, lo: Tensor, hi: Tensor, offset: Tensor) -> Tensor:
    """Quantize and dequantize a weight `[C, n]`, one step per row (`step` is `[C]`); gradients as above.

    `offset` is `[]`, or `[C, 1]` where every row has its own.
    """
    result: Tensor = _PerRow.apply(x, step, lo, hi, offset)
    return result


def _round(x: Tensor, step: Tensor, offset: Tensor | float) -> Tensor:
    scaled = x * step.reciprocal()
    return scaled.sub_(offset).round_() if isinstance(offset, Tensor) or offset else scaled.round_()


def _number(value: Tensor) -> Any:
    """A Python number in eager mode on the CPU, where scalar kernels are faster; otherwise the tensor, without sync or recompilation."""
    return value if torch.compiler.is_compiling() or value.is_cuda or value.dim() else value.item()


def _clamp(x: Tensor, lo: Any, hi: Any) -> Tensor:
    return x.clamp_(lo, hi) if not isinstance(lo, Tensor) else torch.clamp(x, lo.to(x.dtype), hi.to(x.dtype))


def _pass_inside(dy: Tensor, scaled: Tensor, lo: Any, hi: Any) -> Tensor:
    if isinstance(lo, Tensor):
        return torch.where((scaled > lo) & (scaled < hi), dy, torch.zeros((), dtype=dy.dtype, device=dy.device))
    return torch.ops.aten.hardtanh_backward(dy, scaled, lo, hi)  # type: ignore[no-any-return]


class _PerTensor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        scale = step.to(x.dtype)
        y = _clamp((x * step.reciprocal().to(x.dtype)).round_(), _number(lo), _number(hi)).mul_(scale)
        ctx.save_for_backward(x, y, step, lo, hi)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dy,) = grads
        x, y, step, lo, hi = ctx.saved_tensors
        dx = _pass_inside(dy, x, _number((lo - 0.5) * step), _number((hi + 0.5) * step))
        dstep = None
        if ctx.needs_input_grad[1]:
            total = _by_channel(dy * y - dx * x) if torch.compiler.is_compiling() else _inner(dy, y) - _inner(dx, x)
            dstep = total.reshape(step.shape) / step
        return dx, dstep, None, None


class _PerRow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, lo: Tensor, hi: Tensor, offset: Tensor) -> Tensor:
        column = step.unsqueeze(1)
        shift = _number(offset)
        scaled = x * column.reciprocal()
        code = _clamp(scaled.sub_(shift).round_(), _number(lo), _number(hi))
        y = code.add_(shift).mul_(column)
        ctx.save_for_backward(x, y, step, lo, hi, offset)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dy,) = grads
        x, y, step, lo, hi, offset = ctx.saved_tensors
        dx = _pass_inside(dy, x * step.reciprocal().unsqueeze(1), _number(lo - 0.5 + offset), _number(hi + 0.5 + offset))
        dstep = None
        if ctx.needs_input_grad[1]:
            dstep = (_row_inner(dy, y) - _row_inner(dx, x)) / step
        return dx, dstep, None, None, None


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b in float32, or in the type of more precise numbers."""
    if a.dtype != torch.float32 or b.dtype != torch.float32:
        return (_precise(a) * _precise(b)).sum()
    if a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last) and b.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _by_channel(x: Tensor) -> Tensor:
    """Σ x, per channel first: the shape of BatchNorm's own sums, so that the compiler fuses both into one pass."""
    return _precise(x).sum([d for d in range(x.dim()) if d != 1]).sum()


def _row_inner(a: Tensor, b: Tensor) -> Tensor:
    """`[C]`: Σ_n a·b per row."""
    return (a * b).sum(1) if torch.compiler.is_compiling() else torch.einsum("cn,cn->c", a, b)
