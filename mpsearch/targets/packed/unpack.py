"""Unpacks the bytes of an artifact into the numbers of a baked network; a mismatch raises `ArtifactError`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.core.layer import Layer
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, rest_of_state
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.file import PackedFile, Tensors

__all__ = ["STORED_DTYPES", "Unpacking", "stored_as", "unpack"]

STORED_DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""torch dtype → safetensors dtype of unquantized tensors."""


def stored_as(name: str, tensor: Tensor) -> Tensor:
    """A tensor outside the layers as the file stores it: float16 and bfloat16 as float32, complex numbers as pairs.

    Raises:
        ModelError: the file cannot store the dtype.
    """
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.float()
    if tensor.dtype not in STORED_DTYPES:
        raise ModelError(f"the model's '{name}' is {tensor.dtype}, which no artifact can hold; convert it, or register it persistent=False")
    return tensor


class _Reader:
    """Sequential reader of a file's tensors."""

    def __init__(self, tensors: Tensors, stream: BinaryIO) -> None:
        self._tensors, self._stream = tensors, stream
        self._places = dict.fromkeys(layout.TENSORS, 0)

    def take(self, name: str, count: int, dtype: str) -> np.ndarray[Any, Any]:
        size = count * np.dtype(dtype).itemsize
        data = self._tensors.read(self._stream, name, self._places[name], size)
        if len(data) != size:
            raise ArtifactError(f"the artifact's '{name}' holds too few values for this model; give the model it was made from")
        self._places[name] += size
        return np.frombuffer(data, dtype=dtype)

    def finish(self) -> None:
        for name, place in self._places.items():
            if place < self._tensors.size(name):
                raise ArtifactError(f"the artifact's '{name}' holds more values than this model; give the model it was made from")


class Unpacking:
    """Unpacks a file for a built float architecture: the rest first, then the layers, one at a time.

    Args:
        file: checked.
        layers: of the architecture.
    """

    def __init__(self, file: PackedFile, layers: Sequence[Layer]) -> None:
        self._file, self._layers = file, layers
        self._reader: _Reader | None = None

    @contextmanager
    def reading(self) -> Iterator[Unpacking]:
        """Open the file for the `with` block.

        Raises:
            ArtifactError: it was changed since it was checked.
        """
        with self._file.tensors.open() as stream:
            self._reader = _Reader(self._file.tensors, stream)
            yield self

    @property
    def _open(self) -> _Reader:
        if self._reader is None:
            raise RuntimeError("the file is not open; use 'with unpacking.reading()'")
        return self._reader

    def layers(self) -> Iterator[BakedLayer]:
        """The numbers of each layer, in order.

        Raises:
            ArtifactError: the file's contents do not fit the layers.
        """
        exponents = self._open.take("exponents", 2 * len(self._layers), "<i1").reshape(-1, 2).tolist()
        for index, layer in enumerate(self._layers):
            yield _layer(self._file, self._open, layer, index, exponents[index])
        self._open.finish()

    def rest(self, model: nn.Module) -> dict[str, Tensor]:
        """What no layer holds, by name in the model's `state_dict`.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        return _unpack_rest(self._file, self._open, model, self._layers)


def unpack(file: PackedFile, layers: Sequence[Layer], model: nn.Module) -> Parts:
    """The numbers in the artifact's bytes, for the layers of the built float architecture.

    Raises:
        ArtifactError: the file's contents do not fit the model.
    """
    with Unpacking(file, layers).reading() as unpacking:
        rest = unpacking.rest(model)
        return Parts(layers={layer.name: each for layer, each in zip(layers, unpacking.layers(), strict=True)}, rest=rest)


def _layer(file: PackedFile, reader: _Reader, layer: Layer, index: int, exponents: Sequence[int]) -> BakedLayer:
    choice, weight = file.description.choice(index), _weight(file, reader, layer, index, exponents[0])
    bias: StoredNumbers | Tensor | None = None
    if layer.bias_elements:
        numbers = torch.from_numpy(reader.take("biases", layer.bias_elements, "<f2" if layer.norm and not layer.wide else "<f4").copy())
        bias = StoredNumbers(values=numbers, exponent=exponents[1]) if layer.norm else numbers
    input = None
    if (levels := file.description.input(index)) is not None:
        step = torch.from_numpy(reader.take("act_steps", 1, "<f4").copy()).squeeze(0)
        input = QuantizedInput(format=levels[0], signed=levels[1], step=step)
    return BakedLayer(choice=choice, weight=weight, bias=bias, input=input)


def _weight(file: PackedFile, reader: _Reader, layer: Layer, index: int, exponent: int) -> FloatWeight | CodedWeight:
    format = file.description.choice(index).weight
    if format.is_float:
        return FloatWeight(values=torch.from_numpy(reader.take("codes", layer.weights, "<f4").reshape(layer.weight_shape).copy()))
    rows = layout.rows_of(layer, format)
    if not rows or layer.weights % rows:
        raise ArtifactError(f"the artifact's layer '{layer.name}' has other groups than this model; give the model it was made from")
    columns = layer.weights // rows
    packed = reader.take("codes", format.code_bytes(rows, columns), "|u1")
    zeros = torch.from_numpy(reader.take("codes", rows, "|i1").copy()) if format.zero_codes else None
    place, dtype = ("biases", "<f4") if layer.wide else ("scales", "<f2")
    stored = reader.take(place, layout.scale_bytes(layer, format) // np.dtype(dtype).itemsize, dtype)
    try:
        codes, scales = format.unpack(packed, stored, columns)
    except ValueError as error:
        raise ArtifactError(f"the artifact's layer '{layer.name}' cannot be unpacked ({error}); export it again") from error
    numbers = StoredNumbers(values=torch.from_numpy(scales.copy()), exponent=exponent)
    return CodedWeight(format=format, codes=torch.from_numpy(codes if codes.flags.writeable else codes.copy()), scales=numbers, zeros=zeros)


def _unpack_rest(file: PackedFile, reader: _Reader, model: nn.Module, layers: Sequence[Layer]) -> dict[str, Tensor]:
    state = model.state_dict()
    rest: dict[str, Tensor] = {}
    for name in rest_of_state(model, layers):
        like = state[name]
        if like.dtype == torch.float32:
            values = torch.from_numpy(reader.take("floats", like.numel(), "<f4").copy())
        else:
            shown = stored_as(name, like)
            raw = file.tensors.get(f"rest.{name}", b"")
            fits = file.shapes.get(f"rest.{name}", ("", ()))[0] == STORED_DTYPES[shown.dtype] and len(raw) == shown.nbytes
            values = torch.frombuffer(bytearray(raw), dtype=shown.dtype) if fits and raw else torch.empty(0, dtype=shown.dtype)
            if like.is_complex():
                values = torch.view_as_complex(values.reshape(-1, 2))
        if values.numel() != like.numel():
            raise ArtifactError(f"the artifact's '{name}' does not fit this model; give the model it was made from")
        rest[name] = values.reshape(like.shape)
    return rest
