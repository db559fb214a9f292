r"""`tensor-types`: the allocation of a run as `llama-quantize --tensor-type-file` reads it; llama.cpp then fits the weights by itself.

One line a matrix, `^blk\.0\.attn_q\.weight$=q4_k`: a regular expression on llama.cpp's name of the tensor, and a type of ggml. llama.cpp
takes the first line that matches, and knows no comments. A format that a type stores exactly is that type; others are the type of as many
bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.handovers import HANDOVERS
from mpsearch.handovers.base import Handover
from mpsearch.network.baked import Parts, rest_of_state
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.gguf.architecture import architecture_of
from mpsearch.targets.gguf.blocks import F32, TYPES
from mpsearch.targets.gguf.write import weight_name

__all__ = ["TensorTypes"]

_WIDE = {2: "Q2_K", 3: "Q3_K", 4: "Q4_K", 5: "Q5_K", 6: "Q6_K"}
"""Bits → the type of rows that are multiples of 256."""

_NARROW = {(4, False): "Q4_0", (5, False): "Q5_0", (8, False): "Q8_0", (4, True): "Q4_1", (5, True): "Q5_1"}
"""Bits, and whether there is a zero point, → the type of rows that are multiples of 32."""

_SUPERBLOCK, _BLOCK = 256, 32


@HANDOVERS.register("tensor-types")
class TensorTypes(Handover):
    """A text file of types by tensor; llama.cpp reads the weights from a file of its own."""

    name: ClassVar[str] = "tensor-types"
    description: ClassVar[str] = "types by tensor for llama-quantize --tensor-type-file"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Rounded inputs, and bits that no type has for rows of this length."""
        if not activation.is_float:
            return "llama.cpp rounds inputs by itself; leave activations float"
        if len(layer.weight_shape) != 2:
            return f"a weight of {len(layer.weight_shape)} axes is no matrix"
        if not _type_of(weight, layer.weight_shape[1]):
            return f"llama.cpp has no type of the format '{weight}' for rows of {layer.weight_shape[1]} weights"
        return ""

    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """One file.

        Raises:
            ModelError: llama.cpp does not know this network.
        """
        architecture = architecture_of(blueprint.architecture)
        types = {weight_name(layer): _type_of(parts.layers[layer.name].weight_format, layer.weight_shape[1]) for layer in blueprint.layers}
        # llama-quantize gives every matrix without a line the type of the whole file.
        types |= {name: F32.name for name in rest_of_state(blueprint.architecture, blueprint.layers) if parts.rest[name].dim() > 1}
        lines = [f"^{re.escape(architecture.name(name))}$={type.lower()}\n" for name, type in types.items()]
        return {out: "".join(lines).encode()}


def _type_of(format: NumberFormat, inputs: int) -> str:
    """Name of ggml's type; "" if there is none."""
    exact = TYPES.get(format)
    if exact is not None and inputs % exact.values == 0:
        return exact.name
    if not format.evenly_spaced:
        return ""
    if inputs % _SUPERBLOCK == 0 and format.bits in _WIDE:
        return _WIDE[format.bits]
    narrow = _NARROW.get((format.bits, format.zero_point), _NARROW.get((format.bits, False), ""))
    return narrow if inputs % _BLOCK == 0 else ""
