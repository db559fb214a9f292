"""The bytes of a packed network inside a `torch.export` program, and what they cost.

| bytes | content |
|---|---|
| head | `FIELDS` of every layer as int32, `LEVELS` as float32; scales, zero points and biases; each tensor of no layer. All aligned to 8 |
| body | the packed codes of every layer, or its float32 weight |
| tail | zeros, since the last block of codes may be read past its end |

The head's length does not depend on the allocation: a float layer has scales there too, and a layer without zero points has zeros where
another format on the menus has zero points. Scales and biases are float16, to be multiplied by a power of two, or float32 where the packed
file has float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, Granularity, NumberFormat
from mpsearch.network.baked import QuantizedInput
from mpsearch.numbers.grid import act_grid
from mpsearch.targets.packed.layout import rows_of

__all__ = ["BLOCK", "FIELDS", "LEVELS", "TAIL", "VERSION", "Head", "Part", "fields_of", "file_digest", "input_levels", "layer_bytes"]

VERSION = "mpsearch-pt2-1"

BLOCK = 40
"""Codes that are read together: 5 bytes a bit, or 8 bytes of five trits."""

TAIL = 48

FIELDS = ("codes", "block", "num", "den", "base", "window", "count", "negative", "wrap", "shift", "powers", "floats", "float_step")
"""Where the codes of a layer lie and how they are read; blocks of 0 bytes and a step of 0 where there is nothing to read."""

LEVELS = ("offset", "scale", "bias", "step", "low", "high")
"""Offset of the codes, powers of two that scales and biases are multiplied by, and the levels of the input; step 0: it stays float."""


@dataclass(frozen=True)
class Part:
    """Numbers of one kind in the head.

    Args:
        start: first byte.
        dtype: as numpy spells it.
        counts: how many each layer has.
    """

    start: int
    dtype: str
    counts: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Byte behind the last."""
        return self.start + np.dtype(self.dtype).itemsize * sum(self.counts)


class Head:
    """Where things are in the head.

    Args:
        layers: as traced.
        granularity: what shares a scale in each layer; empty for output channels.
        zero_points: whether a format on the menus has zero points.
        rest: tensors of no layer.
    """

    def __init__(self, layers: Sequence[Layer], granularity: Sequence[Granularity], zero_points: bool, rest: Mapping[str, Tensor]) -> None:
        shared: Sequence[Granularity] = granularity or ["channel"] * len(layers)
        self.rows = tuple(rows_of(layer, NumberFormat("uniform", 2, each)) for layer, each in zip(layers, shared, strict=True))
        self.zero_points = zero_points
        counts = {
            ("fields", "<i4"): [len(FIELDS)] * len(layers),
            ("levels", "<f4"): [len(LEVELS)] * len(layers),
            ("half_scales", "<f2"): [0 if layer.wide else rows for layer, rows in zip(layers, self.rows, strict=True)],
            ("half_biases", "<f2"): [layer.bias_elements if _half(layer) else 0 for layer in layers],
            ("scales", "<f4"): [rows if layer.wide else 0 for layer, rows in zip(layers, self.rows, strict=True)],
            ("biases", "<f4"): [0 if _half(layer) else layer.bias_elements for layer in layers],
            ("zeros", "|i1"): [rows if zero_points else 0 for rows in self.rows],
        }
        self.parts: dict[str, Part] = {}
        self.starts: dict[str, int] = {}
        position = 0
        for (name, dtype), each in counts.items():
            self.parts[name] = Part(position, dtype, tuple(each))
            position = _aligned(self.parts[name].stop)
        for name, tensor in rest.items():
            self.starts[name] = position
            position = _aligned(position + tensor.nbytes)
        self.size = position


def _half(layer: Layer) -> bool:
    return bool(layer.norm) and not layer.wide


def _aligned(position: int) -> int:
    return -(-position // 8) * 8


def layer_bytes(layer: Layer, weight: NumberFormat) -> int:
    """Bytes of a layer in the body."""
    if weight.is_float:
        return 4 * layer.weights
    rows = rows_of(layer, weight)
    return weight.code_bytes(rows, layer.weights // rows)


def fields_of(weight: NumberFormat, start: int) -> NDArray[np.int32]:
    """`FIELDS` of a layer in a format whose codes or float32 weight begin at a byte."""
    found = dict.fromkeys(FIELDS, 0) | {"den": 1, "base": 1, "count": 1, "negative": 256}
    if weight == FLOAT:
        found |= {"floats": start, "float_step": 4}
    elif weight.kind == "ternary":
        found |= {"codes": start, "block": 8, "num": 1, "den": 5, "base": 3, "window": 255, "count": 3, "shift": 1}
    else:
        bits = weight.bits
        found |= {"codes": start, "block": 5 * bits, "num": bits, "den": 8, "base": 2, "window": 65535, "count": 2**bits}
        found |= {"negative": 2 ** (bits - 1), "wrap": 2**bits, "powers": int(weight.kind == "power_of_two")}
    return np.array([found[name] for name in FIELDS], dtype="<i4")


def input_levels(input: QuantizedInput | None) -> tuple[float, float, float]:
    """Step, lowest and highest code; all 0 for a float input."""
    if input is None:
        return 0.0, 0.0, 0.0
    grid = act_grid(input.format.bits, input.signed)
    return float(input.step), float(grid.lo), float(grid.hi)


def file_digest(metadata: Mapping[str, str], packed: bytes, program: bytes) -> str:
    """32 hexadecimal digits over metadata without `digest`, bytes and program."""
    state = hashlib.blake2b(digest_size=16)
    for key in sorted(metadata.keys() - {"digest"}):
        state.update(f"{key}\0{metadata[key]}\0".encode())
    for part in (packed, program):
        state.update(f"{len(part)}\0".encode())
        state.update(part)
    return state.hexdigest()
