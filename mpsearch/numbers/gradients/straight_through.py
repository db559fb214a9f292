"""`straight_through`: a value in the forward pass, the identity in the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["straight_through"]


def straight_through(latent: Tensor, value: Tensor) -> Tensor:
    """`value`, exactly; its gradient goes to `latent` unchanged (Bengio et al., arXiv 1308.3432).

    Unlike `latent + (value − latent).detach()`, it adds no floating-point error, so values on a grid stay on it.

    Args:
        latent: any shape.
        value: same shape; gets no gradient.
    """
    result: Tensor = _StraightThrough.apply(latent, value)
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], None
