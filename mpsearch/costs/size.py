"""`size`: bytes of the artifact on disk, exactly: packed codes, scales, biases, activation steps, what stays float, and the header."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpsearch.core.number_format import StoredAs
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import register_format_cost
from mpsearch.numbers.grid import stored_as_grid
from mpsearch.targets.packed.layout import layer_bytes

__all__ = ["size"]


@register_format_cost("size", unit="B", description="bytes of the artifact on disk: codes, scales, biases, header, whatever stays float")
def size(space: ResolvedSpace, formats: Sequence[StoredAs] = (stored_as_grid,)) -> Table:
    """Bytes of the file: `values[l, k] = max over formats of layer_bytes(l, k, format)`.

    With one method's formats `total(allocation)` is `os.path.getsize` of the file that it writes; with those of several it is what none
    of their files exceeds.

    Args:
        space: L layers and their menus; `file_overhead` is the header and the unquantized tensors.
        formats: of each method, format on a menu → format stored.

    Returns:
        `[L, C]`, bytes; NaN off the menus.
    """
    values = np.full((len(space.layers), len(space.choices)), np.nan)
    for column, choice in enumerate(space.choices):
        written = {stored for stores in formats if (stored := stores(choice.weight)) is not None}
        for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
            if choice in menu:
                values[row, column] = max(layer_bytes(layer, weight, choice.activation) for weight in written)
    return Table(name="size", unit="B", layers=space.names, choices=space.choices, values=values, base=float(space.file_overhead))
