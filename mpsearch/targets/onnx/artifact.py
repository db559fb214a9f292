"""`OnnxArtifact`: the network stored in an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from mpsearch.core.nested import leaves
from mpsearch.network.baked import BakedLayer, Parts, QuantizedInput, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.numbers.channels import Rows
from mpsearch.targets.base import Artifact
from mpsearch.targets.description import Description
from mpsearch.targets.onnx import layout
from mpsearch.targets.onnx.read import NumberReader
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
            reader = NumberReader(self._tensors)
            baked = {layer.name: self._layer(reader, model, layer, number, name(number)) for number, layer in enumerate(layers)}
            return Parts(layers=baked, rest=self._rest(reader, model, layers))
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"the file's numbers do not fit this model ({error}); give the model it was made from") from error

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

    def _layer(self, reader: NumberReader, model: nn.Module, layer: Layer, number: int, name: str) -> BakedLayer:
        choice, levels = self.description.choice(number), self.description.input(number)
        weight = reader.weight(name, layer, Rows.of_layer(model, layer, choice.weight.granularity), choice.weight)
        bias = reader.bias(f"{name}B", layer) if layer.bias_elements else None
        input = None
        if levels is not None:
            step = torch.from_numpy(reader.array(f"{name}As", ()).copy())
            input = QuantizedInput(format=levels[0], signed=levels[1], step=step)
        return BakedLayer(choice=choice, weight=weight, bias=bias, input=input)

    def _rest(self, reader: NumberReader, model: nn.Module, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
        """What is no layer's; zeros where the graph does not read it, since the network does not compute with it."""
        names, state = rest_of_state(model, layers), model.state_dict()
        name, found = layout.numbered("R", len(names)), {}
        for number, full in enumerate(names):
            if name(number) in self._tensors:
                found[full] = torch.from_numpy(reader.array(name(number), tuple(state[full].shape)).copy())
            else:
                found[full] = torch.zeros_like(state[full])
        return found


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
    # What is no UTF-8 comes as bytes.
    metadata = {each.key: each.value for each in model.metadata_props if isinstance(each.key, str) and isinstance(each.value, str)}
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(
            f"{path} was not written by mpsearch (its metadata lack format={layout.VERSION}); give a file that 'mpsearch study' wrote"
        )
    if metadata.get("digest") != layout.file_digest(metadata, model.graph):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        description = Description.read(metadata)
        outputs = _outputs(metadata["outputs"], {value.name for value in model.graph.output})
        tensors = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    inputs = tuple(value.name for value in model.graph.input)
    return OnnxArtifact(content, description, tensors, outputs, inputs)


def _tensor(tensor: onnx.TensorProto) -> Array:
    """An initializer; one that points to another file would read whatever its path names."""
    from onnx import numpy_helper

    if tensor.external_data or tensor.data_location:
        raise ValueError(f"'{tensor.name}' lies in another file")
    array: Array = numpy_helper.to_array(tensor)
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"'{tensor.name}' is {array.dtype}")
    return array


_DTYPES = {"float32", "float64", "float16", "uint8", "uint16", "int8", "int16", "int32", "int64", "bool"}


def _outputs(text: str, names: set[str]) -> Any:
    """The structure of the outputs, with names in place of tensors."""
    structure = json.loads(text)
    if not all(isinstance(leaf, str) and leaf in names for leaf in leaves(structure)):
        raise ValueError("its outputs are none of the graph")
    return structure
