"""`size`: bytes of the artifact on disk, exactly: packed codes, scales, biases, activation steps, what stays float, and the header."""

from __future__ import annotations

import numpy as np

from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import register_cost
from mpsearch.quant.container import layer_bytes

__all__ = ["size"]


@register_cost("size", unit="B", description="bytes of the artifact on disk: codes, scales, biases, header, whatever stays float")
def size(space: ResolvedSpace) -> Table:
    """Bytes `[L, C]`; `base` is the header and the unquantized tensors, so that `total(allocation)` is `os.path.getsize` of the file."""
    values = np.full((len(space.layers), len(space.choices)), np.nan)
    for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
        for column, choice in enumerate(space.choices):
            if choice in menu:
                values[row, column] = layer_bytes(layer, choice)
    return Table(name="size", unit="B", layers=space.names, choices=space.choices, values=values, base=float(space.file_overhead))
