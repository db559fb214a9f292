"""`Moments`: what rounding a layer needs of its inputs and outputs, pooled over the calls of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["Moments"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of rows x and y, in G groups.

    Args:
        count: number of rows.
        means: of x, `[G, d]`, and of y, `[G, c]`; zeros if the moments are not about the means.
        squares: mean of x xᵀ, `[G, d, d]`.
        products: mean of y xᵀ, `[G, c, d]`.
    """

    count: int
    means: tuple[Tensor, Tensor]
    squares: Tensor
    products: Tensor

    @classmethod
    def of(cls, inputs: Tensor, outputs: Tensor, *, central: bool) -> Self:
        """Moments of `inputs` `[G, M, d]` and `outputs` `[G, M, c]`, about their means if `central`."""
        count = inputs.shape[1]
        means = (inputs.mean(1), outputs.mean(1))
        if central:
            inputs, outputs = inputs - means[0].unsqueeze(1), outputs - means[1].unsqueeze(1)
        else:
            means = (torch.zeros_like(means[0]), torch.zeros_like(means[1]))
        return cls(count=count, means=means, squares=torch.bmm(inputs.mT, inputs) / count, products=torch.bmm(outputs.mT, inputs) / count)

    @classmethod
    def pooled(cls, parts: Sequence[Self]) -> Self:
        """Those of all rows together."""
        if len(parts) == 1:
            return parts[0]
        total = sum(part.count for part in parts)
        shares = [part.count / total for part in parts]
        x, y = (torch.stack([share * part.means[i] for share, part in zip(shares, parts, strict=True)]).sum(0) for i in (0, 1))
        squares, products = torch.zeros_like(parts[0].squares), torch.zeros_like(parts[0].products)
        for share, part in zip(shares, parts, strict=True):
            apart_x, apart_y = part.means[0] - x, part.means[1] - y
            squares += share * (part.squares + apart_x.unsqueeze(2) * apart_x.unsqueeze(1))
            products += share * (part.products + apart_y.unsqueeze(2) * apart_x.unsqueeze(1))
        return cls(count=total, means=(x, y), squares=squares, products=products)
