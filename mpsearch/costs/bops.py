"""`bops`: bit operations of one sample."""

from __future__ import annotations

import numpy as np

from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import register_cost

__all__ = ["bops"]


@register_cost(
    "bops",
    unit="BOPs",
    description="bit operations of one sample: multiply-accumulates by weight bits by activation bits (float: 32)",
    paper="Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021, arXiv 2011.10680",
)
def bops(space: ResolvedSpace) -> Table:
    """Bit operations of the layers.

    `values[l, k] = MAC_l · b_w · b_a`, float counting as 32 bits. Accumulator additions, which UNIQ (arXiv 1804.10969) counts as
    well, are left out, so that totals compare with HAWQ's.

    Args:
        space: L layers and their menus.

    Returns:
        `[L, C]`, BOPs of one sample; NaN off the menus.

    Source:
        HAWQ-V3 (arXiv 2011.10680), the BOPS limit of its integer programme.
    """
    macs = np.array([layer.macs for layer in space.layers], dtype=np.float64)[:, None]
    products = np.array([choice.weight.bits_per_value * choice.activation.bits_per_value for choice in space.choices], dtype=np.float64)
    values = np.where(space.allowed, macs * products, np.nan)
    return Table(name="bops", unit="BOPs", layers=space.names, choices=space.choices, values=values)
