"""`size`: exact bytes of the artifact where it runs: packed codes, scales, biases, activation steps, what stays float, and the header."""

from __future__ import annotations

import numpy as np

from mpsearch.core.table import Table
from mpsearch.costs.base import COSTS, Cost, CostInputs
from mpsearch.costs.byte_units import BYTE_UNITS, exact_bytes, short_bytes

__all__ = ["size"]


def size(inputs: CostInputs) -> Table:
    """Bytes of the target's file: `values[l, k] = max over formats of layer_bytes(l, k, format)`.

    With one method's formats, `total(allocation)` is `os.path.getsize` of the file that it writes; with those of several methods, none of
    their files is larger.

    Args:
        inputs: of these, the layers' bytes, the formats, and the space, whose `file_overhead` is the header and the unquantized tensors.

    Returns:
        `[L, C]`, bytes; NaN off the menus.
    """
    space = inputs.space
    values = np.full((len(space.layers), len(space.choices)), np.nan)
    for column, choice in enumerate(space.choices):
        written = {stored for stores in inputs.formats if (stored := stores(choice.weight)) is not None}
        for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
            if choice in menu:
                values[row, column] = max(inputs.layer_bytes(layer, weight, choice.activation) for weight in written)
    return space.table("size", "B", values, base=float(space.file_overhead))


COSTS.register("size")(
    Cost(
        name="size",
        unit="B",
        description="bytes of the file, or of flash for a C program: codes, scales, biases, header, whatever stays float",
        units=BYTE_UNITS,
        example="2MB",
        compute=size,
        worded=exact_bytes,
        brief=short_bytes,
        reads_formats=True,
    )
)
