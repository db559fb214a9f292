"""`bits`: mean weight bits, the figure papers call "average bit width"."""

from __future__ import annotations

import numpy as np

from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import register_cost

__all__ = ["bits"]


@register_cost("bits", unit="bit", description="mean bits a weight, first and last layer included; scales and biases are not")
def bits(space: ResolvedSpace) -> Table:
    """Mean weight bits.

    `values[l, k] = N_l · b_k / Σ N`, N weights.

    Args:
        space: L layers and their menus.

    Returns:
        `[L, C]`, bit; NaN off the menus.
    """
    weights = np.array([layer.weights for layer in space.layers], dtype=np.float64)[:, None]
    weight_bits = np.array([choice.weight.bits_per_value for choice in space.choices], dtype=np.float64)
    values = np.where(space.allowed, weights * weight_bits / weights.sum(), np.nan)
    return Table(name="bits", unit="bit", layers=space.names, choices=space.choices, values=values)
