"""Writer of the packed file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.files import replacing
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import FloatWeight, Parts, rest_of_state
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import spelled, without_formats
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.unpack import STORED_DTYPES, stored_as

__all__ = ["PackedWriter", "tensors_of"]


class PackedWriter(Writer):
    """Writes the packed files of one network.

    Args:
        blueprint: of the network.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint

    @property
    def overhead_bytes(self) -> int:
        """Header and unquantized tensors."""
        model = self.blueprint.architecture
        state = model.state_dict()
        rest: dict[str, Tensor] = {name: state[name] for name in rest_of_state(model, self.blueprint.layers)}
        apart = _stored_apart(rest)
        floats = [tensor for tensor in rest.values() if tensor.dtype == torch.float32]
        header = layout.header_bytes(without_formats(self.blueprint), _shapes(apart))
        return header + sum(tensor.nbytes for tensor in (*floats, *apart.values()))

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Codes, scales, bias, activation step and exponents."""
        return layout.layer_bytes(layer, weight, activation)

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically."""
        tensors = tensors_of(self.blueprint.layers, parts)
        for tensor in parts.rest.values():
            if tensor.dtype == torch.float32:
                tensors["floats"] += tensor.contiguous().numpy().astype("<f4").tobytes()
        apart = _stored_apart(parts.rest)
        tensors |= {name: bytearray(tensor.contiguous().numpy().tobytes()) for name, tensor in apart.items()}
        shapes = _shapes(apart)
        header = layout.header_bytes(without_formats(self.blueprint), shapes)
        shapes |= {name: (dtype, (len(tensors[name]) // _WIDTH[dtype],)) for name, dtype in layout.TENSORS.items()}
        metadata = {"format": layout.VERSION, **spelled(self.blueprint, parts)}
        metadata["digest"] = layout.file_digest(metadata, tensors)
        return _write(path, metadata, tensors, shapes, header)


def tensors_of(layers: Sequence[Layer], parts: Parts) -> dict[str, bytearray]:
    """The numbers of the layers as bytes, by the names of `layout.TENSORS`; `floats` is empty."""
    tensors: dict[str, bytearray] = {name: bytearray() for name in layout.TENSORS}
    exponents: list[int] = []
    for layer in layers:
        baked = parts.layers[layer.name]
        scale_exponent = bias_exponent = 0
        if isinstance(baked.weight, FloatWeight):
            tensors["codes"] += baked.weight.values.numpy().astype("<f4").tobytes()
        else:
            packed, scales = baked.weight.format.pack(baked.weight.codes.numpy(), baked.weight.scales.values.numpy())
            tensors["codes"] += packed.tobytes()
            if baked.weight.zeros is not None:
                tensors["codes"] += baked.weight.zeros.numpy().astype(np.int8).tobytes()
            tensors["biases" if layer.wide else "scales"] += _float_bytes(scales)
            scale_exponent = baked.weight.scales.exponent
        if isinstance(baked.bias, StoredNumbers):
            tensors["biases"] += _float_bytes(baked.bias.values.numpy())
            bias_exponent = baked.bias.exponent
        elif baked.bias is not None:
            tensors["biases"] += baked.bias.numpy().astype("<f4").tobytes()
        if baked.input is not None:
            tensors["act_steps"] += baked.input.step.numpy().astype("<f4").tobytes()
        exponents += [scale_exponent, bias_exponent]
    tensors["exponents"] += np.array(exponents, dtype=np.int8).tobytes()
    return tensors


def _float_bytes(numbers: np.ndarray[Any, Any]) -> bytes:
    """float16 or float32, little-endian."""
    return numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()


_WIDTH = {"U8": 1, "I8": 1, "F16": 2, "F32": 4}


def _write(
    path: Path, metadata: dict[str, str], tensors: Mapping[str, bytearray], shapes: Mapping[str, tuple[str, tuple[int, ...]]], header: int
) -> int:
    entries: dict[str, Any] = {"__metadata__": {**metadata, "pad": ""}}
    position = 0
    for name, data in tensors.items():
        dtype, shape = shapes[name]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(data)]}
        position += len(data)
    entries["__metadata__"]["pad"] = " " * (header - 8 - len(layout.header_text(entries)))
    text = layout.header_text(entries)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for data in tensors.values():
            file.write(data)
    return path.stat().st_size


def _stored_apart(rest: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What no layer holds and is not float32, as the file stores it, by its name there."""
    return {f"rest.{name}": stored_as(name, tensor) for name, tensor in rest.items() if tensor.dtype != torch.float32}


def _shapes(apart: Mapping[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (STORED_DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in apart.items()}
