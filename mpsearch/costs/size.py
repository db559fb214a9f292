"""`size`: bytes of the artifact on disk, exactly: packed codes, scales, biases, activation steps, what stays float, and the header."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import register_format_cost
from mpsearch.numbers.formats import FormatOf, grid_format
from mpsearch.targets.packed.layout import layer_bytes

__all__ = ["size"]


@register_format_cost("size", unit="B", description="bytes of the artifact on disk: codes, scales, biases, header, whatever stays float")
def size(space: ResolvedSpace, formats: Sequence[FormatOf] = (grid_format,)) -> Table:
    """Bytes of the file: `values[l, k] = max over formats of layer_bytes(l, k, format)`.

    With one method's formats `total(allocation)` is `os.path.getsize` of the file that it writes; with those of several it is what none
    of their files exceeds.

    Args:
        space: L layers and their menus; `file_overhead` is the header and the unquantized tensors.
        formats: of each method, weight bits → format.

    Returns:
        `[L, C]`, bytes; NaN off the menus.
    """
    values = np.full((len(space.layers), len(space.choices)), np.nan)
    for column, choice in enumerate(space.choices):
        written = {None} if choice.weight_bits == FLOAT_BITS else {format_of(choice.weight_bits) for format_of in formats}
        for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
            if choice in menu:
                values[row, column] = max(layer_bytes(layer, choice, format) for format in written)
    return Table(name="size", unit="B", layers=space.names, choices=space.choices, values=values, base=float(space.file_overhead))
