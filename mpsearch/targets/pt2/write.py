"""`Pt2Writer`: writes the `torch.export` programs of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpsearch.core.files import write_bytes
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, rest_of_state
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import spelled, without_formats
from mpsearch.targets.pt2 import layout
from mpsearch.targets.pt2.archive import archive, stored
from mpsearch.targets.pt2.program import GRAPH, Program, program_of

__all__ = ["METADATA", "Pt2Writer"]

METADATA = "model/extra/mpsearch."
"""Start of the names of metadata in the archive."""


class Pt2Writer(Writer):
    """Writes the programs of one network.

    Args:
        blueprint: of the network.

    Raises:
        ModelError: the network cannot be exported.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        state = blueprint.architecture.state_dict()
        rest = {name: state[name].detach().cpu() for name in rest_of_state(blueprint.architecture, blueprint.layers)}
        zero_points = any(format.zero_point for format in blueprint.formats)
        self._head = layout.Head(blueprint.layers, blueprint.granularity, zero_points, rest)
        self._program: Program = program_of(blueprint, self._head, rest)

    @cached_property
    def overhead_bytes(self) -> int:
        """The program, the head and the metadata."""
        metadata = {**self._metadata(without_formats(self.blueprint)), "digest": "0" * 32}
        return len(self._archive(bytes(self._head.size + layout.TAIL), metadata))

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """The codes, or the float32 weight; everything else is in the head."""
        return layout.layer_bytes(layer, weight)

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically."""
        baked = [parts.layers[layer.name] for layer in self.blueprint.layers]
        codes = [_codes(each) for each in baked]
        packed = self._head_bytes(baked, codes, parts.rest) + b"".join(codes) + bytes(layout.TAIL)
        metadata = self._metadata(spelled(self.blueprint, parts))
        metadata["digest"] = layout.file_digest(metadata, packed, self._program.entries(packed)[GRAPH].data)
        return write_bytes(path, self._archive(packed, metadata)).stat().st_size

    def _archive(self, packed: bytes, metadata: Mapping[str, str]) -> bytes:
        about = {f"{METADATA}{key}": stored(value.encode()) for key, value in metadata.items()}
        return archive(self._program.entries(packed) | about)

    def _head_bytes(self, baked: Sequence[BakedLayer], codes: Sequence[bytes], rest: Mapping[str, Tensor]) -> bytes:
        head, data, start = self._head, bytearray(self._head.size), self._head.size
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in head.parts}
        for layer, rows, each, own in zip(self.blueprint.layers, head.rows, baked, codes, strict=True):
            parts["fields"].append(layout.fields_of(each.weight_format, start))
            parts["levels"].append(np.array(_levels(each), dtype="<f4"))
            coded = each.weight if isinstance(each.weight, CodedWeight) else None
            scales = np.zeros(rows, dtype=np.float32 if layer.wide else np.float16) if coded is None else coded.scales.values.numpy()
            parts["scales" if layer.wide else "half_scales"].append(scales)
            if head.zero_points:
                zeros = None if coded is None else coded.zeros
                parts["zeros"].append(np.zeros(rows, dtype=np.int8) if zeros is None else zeros.numpy())
            if each.bias is not None:
                bias = (each.bias.values if isinstance(each.bias, StoredNumbers) else each.bias).numpy()
                parts["half_biases" if bias.dtype == np.float16 else "biases"].append(bias)
            start += len(own)
        for name, part in head.parts.items():
            data[part.start : part.stop] = b"".join(array.astype(part.dtype).tobytes() for array in parts[name])
        for name, place in head.starts.items():
            tensor = rest[name].contiguous()
            data[place : place + tensor.nbytes] = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        return bytes(data)

    def _metadata(self, description: Mapping[str, str]) -> dict[str, str]:
        return {"format": layout.VERSION, "zero_points": str(int(self._head.zero_points)), **description}


def _codes(baked: BakedLayer) -> bytes:
    """The packed codes of a weight, or its float32 numbers."""
    if isinstance(baked.weight, FloatWeight):
        return baked.weight.values.numpy().astype("<f4").tobytes()
    return baked.weight.format.pack(baked.weight.codes.numpy(), baked.weight.scales.values.numpy())[0].tobytes()


def _levels(baked: BakedLayer) -> tuple[float, ...]:
    """`layout.LEVELS` of a layer."""
    offset = 0.5 if baked.weight_format.kind == "half_step" else 0.0
    scale = 2.0**baked.weight.scales.exponent if isinstance(baked.weight, CodedWeight) else 0.0
    bias = 2.0**baked.bias.exponent if isinstance(baked.bias, StoredNumbers) else 0.0
    return offset, scale, bias, *layout.input_levels(baked.input)
