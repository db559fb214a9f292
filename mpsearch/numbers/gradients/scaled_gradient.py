"""`scale_gradient`: the identity with a scaled gradient, so that parameters of different magnitude can share one learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["scale_gradient"]


def scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """`x` itself; its gradient is multiplied by `factor`, which broadcasts against it and gets no gradient.

    LSQ, Esser et al., arXiv 1902.08153, section 2.2, scales the gradients of step sizes this way.
    """
    result: Tensor = _ScaleGradient.apply(x, factor)
    return result


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (factor,) = ctx.saved_tensors
        return grads[0] * factor, None
