"""`OnnxArtifact`: the network stored in an ONNX file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.extras import needs
from mpsearch.core.files import is_file
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, StoredNumbers, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.numbers.channels import Rows
from mpsearch.targets.base import Artifact
from mpsearch.targets.description import Description
from mpsearch.targets.onnx import layout, unpacking
from mpsearch.targets.onnx.runtime import RuntimeModel

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxArtifact", "read_artifact"]

Array = np.ndarray[Any, Any]


class OnnxArtifact(Artifact):
    """An ONNX file, from which the network can be built, or run as it is.

    Args:
        content: of the file.
        description: network and formats.
        tensors: initializers by name.
        outputs: structure of what the network returns.
        inputs: names of its inputs.
    """

    def __init__(
        self, content: bytes, description: Description, tensors: Mapping[str, Array], outputs: Any, inputs: tuple[str, ...]
    ) -> None:
        self.description = description
        self.model, self.options = description.model, description.options
        self.bits = 8 * len(content)
        self._content, self._tensors, self._outputs, self._inputs = content, tensors, outputs, inputs

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return self.description.allocation

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        layers = self.description.layers(model)
        name = layout.numbered("W", len(layers))
        try:
            baked = {layer.name: self._layer(model, layer, number, name(number)) for number, layer in enumerate(layers)}
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"the file's numbers do not fit this model ({error}); give the model it was made from") from error
        return Parts(layers=baked, rest=self._rest(model, layers))

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run in torch.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        return install(model, self.description.layers(model), self.parts(model))

    def executed(self) -> nn.Module:
        """The file in ONNX Runtime, with its default settings.

        Raises:
            ArtifactError: the runtime refuses the file.
        """
        return RuntimeModel(self._content, self._inputs, self._outputs)

    def _layer(self, model: nn.Module, layer: Layer, number: int, name: str) -> BakedLayer:
        choice, levels = self.description.choice(number), self.description.input(number)
        rows = Rows.of_layer(model, layer, choice.weight.granularity)
        weight = _Weight(self._tensors, name, layer, rows, choice.weight).read()
        bias = self._bias(layer, f"{name}B") if layer.bias_elements else None
        input = None
        if levels is not None:
            step = torch.tensor(float(self._array(f"{name}A", (4,))[3]))
            input = QuantizedInput(format=levels[0], signed=levels[1], step=step)
        return BakedLayer(choice=choice, weight=weight, bias=bias, input=input)

    def _bias(self, layer: Layer, name: str) -> StoredNumbers | Tensor:
        if name in self._tensors:
            numbers = torch.from_numpy(self._array(name, (layer.bias_elements,)).copy())
            return StoredNumbers(values=numbers) if layer.norm else numbers
        values = torch.from_numpy(self._array(f"{name}h", (layer.bias_elements,)).copy())
        return StoredNumbers(values=values, exponent=_exponent(self._array(f"{name}e", ())))

    def _rest(self, model: nn.Module, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
        """What the graph reads of the rest; the network does not compute with the others."""
        names, state = rest_of_state(model, layers), model.state_dict()
        name, found = layout.numbered("R", len(names)), {}
        for number, full in enumerate(names):
            if name(number) in self._tensors:
                value = torch.from_numpy(self._tensors[name(number)].copy())
                if value.shape != state[full].shape or value.dtype != state[full].dtype:
                    raise ArtifactError(f"the file's '{full}' does not fit this model; give the model it was made from")
                found[full] = value
        return found

    def _array(self, name: str, shape: tuple[int, ...]) -> Array:
        return _of_shape(self._tensors, name, shape)


@dataclass(frozen=True)
class _Weight:
    """Reads the weight of one layer."""

    tensors: Mapping[str, Array]
    name: str
    layer: Layer
    rows: Rows
    format: NumberFormat

    def read(self) -> FloatWeight | CodedWeight:
        if self.format.is_float:
            return FloatWeight(values=torch.from_numpy(_of_shape(self.tensors, self.name, self.layer.weight_shape).copy()))
        if self.format.kind == "multibit":
            return self._multibit()
        arranged = unpacking.arrangement(self.layer, self.rows)
        codes = torch.from_numpy(self._codes(unpacking.planes_of(self.format), self.layer.weights) - self._shift)
        rows = codes.reshape(self.rows.count, -1) if arranged.by_rows else self.rows.split(codes.reshape(self.layer.weight_shape))
        zeros = None
        if self.format.zero_point:
            held = _of_shape(self.tensors, f"{self.name}z", arranged.scales).reshape(-1).astype(np.int16)
            zeros = torch.from_numpy((held - self._shift).astype(np.int8))
        scales = self._scales(arranged.scales).reshape(-1)
        return CodedWeight(format=self.format, codes=rows.contiguous(), scales=self._stored(scales, 0), zeros=zeros)

    @property
    def _shift(self) -> np.int16:
        return np.int16(1 if self.format.kind == "ternary" else 2 ** (self.format.bits - 1))

    def _codes(self, planes: tuple[unpacking.Plane, ...], count: int) -> Array:
        return unpacking.join_planes([self.tensors[f"{self.name}{'pqr'[index]}"] for index in range(len(planes))], planes, count)

    def _scales(self, shape: tuple[int, ...]) -> Array:
        return _of_shape(self.tensors, f"{self.name}s", shape)

    def _stored(self, scales: Array, more: int) -> StoredNumbers:
        exponent = _exponent(_of_shape(self.tensors, f"{self.name}e", ())) - more
        return StoredNumbers(values=torch.from_numpy(scales.copy()), exponent=exponent)

    def _multibit(self) -> CodedWeight:
        channels, columns = self.rows.count, self.layer.weights // self.rows.count
        count = self.format.bits * channels
        signs = self._codes((unpacking.Plane(2, 1),), count * columns).reshape(count, columns)
        owners = _of_shape(self.tensors, f"{self.name}j", (count, 1)).reshape(-1).astype(np.int64)
        scales = self._scales((count, 1)).reshape(-1)
        if owners.min() < 0 or owners.max() >= channels or np.any(np.diff(owners) < 0):
            raise ValueError("sign vectors that belong to no channel")
        place = np.arange(count) - np.searchsorted(owners, owners)
        if place.max() >= 8:
            raise ValueError("a channel of more than 8 sign vectors")
        codes, alphas = np.zeros((channels, columns), dtype=np.int16), np.zeros((channels, 8), dtype=scales.dtype)
        np.bitwise_or.at(codes, owners, (signs << place[:, None]).astype(np.int16))
        alphas[owners, place] = scales
        return CodedWeight(format=self.format, codes=torch.from_numpy(codes), scales=self._stored(alphas, 1))


def _of_shape(tensors: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> Array:
    found = tensors[name]
    if found.shape != shape:
        raise ValueError(f"'{name}' has the shape {list(found.shape)}, not {list(shape)}")
    return found


def _exponent(power: Array) -> int:
    mantissa, exponent = math.frexp(float(power))
    if mantissa != 0.5:
        raise ValueError(f"{float(power)} is no power of two")
    return exponent - 1


def read_artifact(path: Path) -> OnnxArtifact:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or was not written by mpsearch.
        ConfigError: packages of the extra `onnx` are missing.
    """
    needs("an ONNX file", "onnx", "onnx", "onnxruntime")
    import onnx
    from google.protobuf.message import DecodeError

    if not is_file(path):
        raise ArtifactError(f"no artifact at {path}; give the path of a model.onnx that 'mpsearch study --target onnx' wrote")
    content = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ArtifactError(f"{path} is truncated or no ONNX file ({error}); export it again") from error
    metadata = {each.key: each.value for each in model.metadata_props}
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(
            f"{path} was not written by mpsearch (its metadata lack format={layout.VERSION}); give a file that 'mpsearch study' wrote"
        )
    if metadata.get("digest") != layout.file_digest(metadata, model.graph, model.functions):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        description, outputs = Description.read(metadata), json.loads(metadata["outputs"])
        tensors = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    inputs = tuple(value.name for value in model.graph.input)
    return OnnxArtifact(content, description, tensors, outputs, inputs)


def _tensor(tensor: onnx.TensorProto) -> Array:
    """An initializer; one that points to another file would read whatever its path names."""
    from onnx import numpy_helper

    if tensor.external_data or tensor.data_location:
        raise ValueError(f"'{tensor.name}' lies in another file")
    array: Array = numpy_helper.to_array(tensor)
    return array
