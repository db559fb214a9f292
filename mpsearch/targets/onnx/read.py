"""`NumberReader`: reads the numbers of layers back from the initializers of an ONNX file, in the order in which they were written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.onnx import unpacking

__all__ = ["NumberReader"]

Array = np.ndarray[Any, Any]

_MOST_VECTORS = 8


class NumberReader:
    """Reads numbers; every method raises `KeyError` or `ValueError` where they do not fit.

    Args:
        tensors: initializers by name.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._tensors = tensors
        held = {base: tensors.get(unpacking.stream_name(base), np.zeros(0, dtype=np.uint8)) for base in unpacking.BASES}
        self._streams = {base: unpacking.digits_in(packed.reshape(-1), base) for base, packed in held.items()}
        self._places = dict.fromkeys(unpacking.BASES, 0)

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """An initializer of a known shape."""
        found = self._tensors[name]
        if found.shape != shape:
            raise ValueError(f"'{name}' has the shape {list(found.shape)}, not {list(shape)}")
        return found

    def numbers(self, name: str, shape: tuple[int, ...], *, half: bool) -> StoredNumbers:
        """Numbers as `sections` writes them, flat; `half`: as half-precision numbers, which few of them are written wider."""
        if name in self._tensors:
            wide = StoredNumbers(values=_float(self._shaped(name, shape), "float32"))
            narrow = StoredNumbers.of(wide.values)
            return narrow if half and torch.equal(narrow.numbers(), wide.values) else wide
        return StoredNumbers(values=_float(self._shaped(f"{name}h", shape), "float16"), exponent=_exponent(self.array(f"{name}e", ())))

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Array:
        """An initializer of a shape, or of so many numbers along its first axis, as they multiply a layer's output."""
        found, count = self._tensors[name], math.prod(shape)
        return found if found.shape[:1] == (count,) and found.size == count else self.array(name, shape)

    def bias(self, name: str, layer: Layer) -> StoredNumbers | Tensor:
        """The bias of a layer."""
        stored = self.numbers(name, (layer.bias_elements,), half=bool(layer.norm) and not layer.wide)
        return stored if layer.norm else stored.values

    def weight(self, name: str, layer: Layer, rows: Rows, format: NumberFormat) -> FloatWeight | CodedWeight:
        """The weight of the next layer."""
        if format.is_float:
            return FloatWeight(values=_float(self.array(name, layer.weight_shape), "float32").reshape(layer.weight_shape))
        if format.kind == "multibit":
            return self._multibit(name, layer, rows, format)
        arranged, planes = unpacking.arrangement(layer, rows), unpacking.planes_of(format)
        shift = np.int16(1 if format.kind == "ternary" else 2 ** (format.bits - 1))
        digits = [self._digits(plane.base, layer.weights) for plane in planes]
        codes = torch.from_numpy(unpacking.codes_of(digits, planes) - shift)
        by_rows = codes.reshape(rows.count, -1) if arranged.by_rows else rows.split(codes.reshape(layer.weight_shape)).contiguous()
        zeros = None
        if format.zero_point:
            held = self.array(f"{name}z", arranged.scales).reshape(-1).astype(np.int16)
            zeros = torch.from_numpy((held - shift).astype(np.int8))
        return CodedWeight(format=format, codes=by_rows, scales=self.numbers(f"{name}s", arranged.scales, half=not layer.wide), zeros=zeros)

    def _digits(self, base: int, count: int) -> Array:
        begin = self._places[base]
        self._places[base] = begin + count
        found = self._streams[base][begin : begin + count]
        if len(found) != count:
            raise ValueError(f"digits of base {base} are missing")
        return found

    def _multibit(self, name: str, layer: Layer, rows: Rows, format: NumberFormat) -> CodedWeight:
        channels, columns = rows.count, layer.weights // rows.count
        count = format.bits * channels
        signs = self._digits(2, count * columns).reshape(count, columns).astype(np.int16)
        channel_of_base = self.array(f"{name}j", (count, 1)).reshape(-1).astype(np.int64)
        doubled = self.numbers(f"{name}s", (count, 1), half=not layer.wide)
        if channel_of_base.min() < 0 or channel_of_base.max() >= channels or np.any(np.diff(channel_of_base) < 0):
            raise ValueError("there are sign vectors that belong to no channel")
        place = np.arange(count) - np.searchsorted(channel_of_base, channel_of_base)
        if place.max() >= _MOST_VECTORS:
            raise ValueError(f"a channel has more than {_MOST_VECTORS} sign vectors")
        codes = np.zeros((channels, columns), dtype=np.int16)
        np.bitwise_or.at(codes, channel_of_base, signs << place[:, None].astype(np.int16))
        alphas = torch.zeros(channels, _MOST_VECTORS, dtype=doubled.values.dtype)
        alphas[torch.from_numpy(channel_of_base), torch.from_numpy(place)] = doubled.values / 2 if doubled.wide else doubled.values
        scales = StoredNumbers(values=alphas, exponent=0 if doubled.wide else doubled.exponent - 1)
        return CodedWeight(format=format, codes=torch.from_numpy(codes), scales=scales)


def _float(found: Array, dtype: str) -> Tensor:
    if found.dtype != dtype:
        raise ValueError(f"a tensor is {found.dtype}, not {dtype}")
    return torch.from_numpy(found.reshape(-1).copy())


def _exponent(power: Array) -> int:
    mantissa, exponent = math.frexp(float(power))
    if mantissa != 0.5:
        raise ValueError(f"{float(power)} is no power of two")
    return exponent - 1
