"""`bops`: bit operations of one sample."""

from __future__ import annotations

import numpy as np

from mpsearch.core.table import Table
from mpsearch.costs.base import COSTS, Cost, CostInputs

__all__ = ["bops"]

_LARGE = ((1e12, "TBOPs"), (1e9, "GBOPs"), (1e6, "MBOPs"), (1e3, "KBOPs"))


def bops(inputs: CostInputs) -> Table:
    """Bit operations of the layers.

    `values[l, k] = MAC_l · b_w · b_a`, float counting as 32 bits. Accumulator additions, which UNIQ (arXiv 1804.10969) counts as
    well, are left out, so that totals compare with HAWQ's.

    Args:
        inputs: of these, the space.

    Returns:
        `[L, C]`, BOPs of one sample; NaN off the menus.

    Source:
        HAWQ-V3 (arXiv 2011.10680), the BOPS limit of its integer program.
    """
    space = inputs.space
    macs = np.array([layer.macs for layer in space.layers], dtype=np.float64)[:, None]
    products = np.array([choice.weight.bits_per_value * choice.activation.bits_per_value for choice in space.choices], dtype=np.float64)
    return space.table("bops", "BOPs", macs * products)


def _worded(amount: float) -> str:
    for factor, unit in _LARGE:
        if amount >= factor:
            return f"{amount / factor:.3f} {unit}"
    return f"{amount:.0f} BOPs"


COSTS.register("bops")(
    Cost(
        name="bops",
        unit="BOPs",
        description="bit operations of one sample: multiply-accumulates by weight bits by activation bits (float: 32)",
        paper="Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021, arXiv 2011.10680",
        units={"BOPs": "1", "KBOPs": "1e3", "MBOPs": "1e6", "GBOPs": "1e9", "TBOPs": "1e12"},
        example="1.2GBOPs",
        compute=bops,
        worded=_worded,
    )
)
