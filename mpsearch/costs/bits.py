"""`bits`: mean weight bits, the figure papers call "average bit width"."""

from __future__ import annotations

import numpy as np

from mpsearch.core.table import Table
from mpsearch.costs.base import COSTS, Cost, CostInputs

__all__ = ["bits"]


def bits(inputs: CostInputs) -> Table:
    """Mean weight bits.

    `values[l, k] = N_l · b_k / Σ N`, N weights.

    Args:
        inputs: of these, the space.

    Returns:
        `[L, C]`, bit; NaN off the menus.
    """
    space = inputs.space
    weights = np.array([layer.weights for layer in space.layers], dtype=np.float64)[:, None]
    weight_bits = np.array([choice.weight.bits_per_value for choice in space.choices], dtype=np.float64)
    return space.table("bits", "bit", weights * weight_bits / weights.sum())


COSTS.register("bits")(
    Cost(
        name="bits",
        unit="bit",
        description="mean bits of a weight, first and last layer included; scales and biases are not",
        units={"bit": "1", "bits": "1"},
        example="3.2bit",
        compute=bits,
        worded=lambda amount: f"{amount:.3f} bit",
    )
)
