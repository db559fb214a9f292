"""From the bytes of an artifact back to the numbers of a baked network; anything that does not fit is an `ArtifactError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.core.layer import Layer
from mpsearch.network.baked import BakedLayer, Parts, rest_of_state
from mpsearch.numbers.act_formats import ACT_FORMATS
from mpsearch.numbers.formats import FORMATS
from mpsearch.targets.packed import layout

if TYPE_CHECKING:
    from mpsearch.targets.packed.artifact import Artifact

__all__ = ["STORED_DTYPES", "choice_of", "stored_as", "unpack"]

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
"""torch dtype → safetensors dtype of the tensors that stay as they are."""


def stored_as(name: str, tensor: Tensor) -> Tensor:
    """A tensor outside the layers as the file holds it: float16 and bfloat16 as float32, complex numbers as pairs.

    Raises:
        ModelError: a dtype the file has no room for.
    """
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.float()
    if tensor.dtype not in STORED_DTYPES:
        raise ModelError(f"the model's '{name}' is {tensor.dtype}, which no artifact can hold; convert it, or register it persistent=False")
    return tensor


def choice_of(bits: str, index: int) -> Choice:
    """The choice of one layer, from three characters each."""
    weight, act = (FLOAT_BITS if character == "-" else int(character) for character in bits[3 * index : 3 * index + 2])
    return Choice(weight, act)


class _Reader:
    """Takes a file's tensors apart from front to back."""

    def __init__(self, tensors: Mapping[str, bytes]) -> None:
        self._tensors, self._position = tensors, dict.fromkeys(tensors, 0)

    def take(self, name: str, count: int, dtype: str) -> np.ndarray[Any, Any]:
        size = count * np.dtype(dtype).itemsize
        start = self._position.get(name, 0)
        data = self._tensors.get(name, b"")[start : start + size]
        if len(data) != size:
            raise ArtifactError(f"the artifact's '{name}' holds too few values for this model; give the model it was made from")
        self._position[name] = start + size
        return np.frombuffer(data, dtype=dtype)

    def finish(self) -> None:
        for name in layout.TENSORS:
            if self._position.get(name, 0) != len(self._tensors.get(name, b"")):
                raise ArtifactError(f"the artifact's '{name}' holds more values than this model; give the model it was made from")


def unpack(artifact: Artifact, layers: Sequence[Layer], model: nn.Module) -> Parts:
    """The numbers in the artifact's bytes, for the layers of the built float architecture.

    Raises:
        ArtifactError: the file's contents do not fit the model.
    """
    reader = _Reader(artifact.tensors)
    baked: dict[str, BakedLayer] = {}
    exponents = reader.take("exponents", 2 * len(layers), "<i1").reshape(-1, 2).tolist()
    for index, layer in enumerate(layers):
        choice = choice_of(artifact.bits, index)
        format = FORMATS.get(artifact.formats[index])
        codes = weight = scales = bias = act_format = act_step = None
        if format is None:
            weight = torch.from_numpy(reader.take("codes", layer.weights, "<f4").reshape(layer.weight_shape).copy())
        else:
            packed = reader.take("codes", layout.weight_bytes(layer, choice, format), "|u1")
            halves = reader.take("scales", layout.scale_bytes(layer, choice, format) // 2, "<f2")
            try:
                unpacked = format.unpack(packed, halves, layer.weights // layer.channels, choice.weight_bits)
            except ValueError as error:
                raise ArtifactError(f"the artifact's layer '{layer.name}' cannot be unpacked ({error}); export it again") from error
            codes, scales = (torch.from_numpy(numbers.copy()) for numbers in unpacked)
        if layer.bias_elements:
            bias = torch.from_numpy(reader.take("biases", layer.bias_elements, "<f2" if layer.norm else "<f4").copy())
        if choice.act_bits != FLOAT_BITS:
            act_format = ACT_FORMATS[artifact.bits[3 * index + 2]]
            act_step = torch.from_numpy(reader.take("act_steps", 1, "<f4").copy()).squeeze(0)
        baked[layer.name] = BakedLayer(
            choice=choice,
            format=format,
            codes=codes,
            weight=weight,
            scales=scales,
            scale_exponent=exponents[index][0],
            bias=bias,
            bias_exponent=exponents[index][1],
            act_format=act_format,
            act_step=act_step,
        )
    return Parts(layers=baked, rest=_unpack_rest(artifact, reader, model, layers))


def _unpack_rest(artifact: Artifact, reader: _Reader, model: nn.Module, layers: Sequence[Layer]) -> dict[str, Tensor]:
    state = model.state_dict()
    rest: dict[str, Tensor] = {}
    for name in rest_of_state(model, layers):
        like = state[name]
        if like.dtype == torch.float32:
            values = torch.from_numpy(reader.take("floats", like.numel(), "<f4").copy())
        else:
            shown = stored_as(name, like)
            raw = artifact.tensors.get(f"rest.{name}", b"")
            fits = artifact.shapes.get(f"rest.{name}", ("", ()))[0] == STORED_DTYPES[shown.dtype] and len(raw) == shown.nbytes
            values = torch.frombuffer(bytearray(raw), dtype=shown.dtype) if fits and raw else torch.empty(0, dtype=shown.dtype)
            if like.is_complex():
                values = torch.view_as_complex(values.reshape(-1, 2))
        if values.numel() != like.numel():
            raise ArtifactError(f"the artifact's '{name}' does not fit this model; give the model it was made from")
        rest[name] = values.reshape(like.shape)
    reader.finish()
    return rest
