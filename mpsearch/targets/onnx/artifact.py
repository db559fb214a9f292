"""`OnnxArtifact`: the network stored in an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.layer import Layer
from mpsearch.network.baked import BakedLayer, Parts, QuantizedInput, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.network.integer_sums import multiplies_integers
from mpsearch.numbers.channels import Rows
from mpsearch.targets.base import Artifact
from mpsearch.targets.onnx import layout
from mpsearch.targets.onnx.file import OnnxFile
from mpsearch.targets.onnx.read import NumberReader
from mpsearch.targets.onnx.runtime import ExecutedFile, RuntimeModel

__all__ = ["OnnxArtifact"]


class OnnxArtifact(Artifact):
    """An ONNX file, from which the network can be built, or run as it is.

    Args:
        file: as read and checked.
    """

    integers: ClassVar[bool] = True
    """Whether layers multiply integers, as the target's writer writes them."""

    def __init__(self, file: OnnxFile) -> None:
        self.file, self.description = file, file.description
        self.model, self.options = file.description.model, file.description.options
        self.bits = 8 * len(file.content)

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
            reader = self.reader()
            baked = {layer.name: self._layer(reader, model, layer, number, name(number)) for number, layer in enumerate(layers)}
            return Parts(layers=baked, rest=self._rest(reader, model, layers))
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"the file's numbers do not fit this model ({error}); give the model it was made from") from error

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run in torch.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        return install(model, self.description.layers(model), self.parts(model))

    def executed(self, threads: int | None = None) -> ExecutedFile:
        """The file in ONNX Runtime, with the settings of the target.

        Args:
            threads: of the session; None: as many as torch has.

        Raises:
            ArtifactError: the runtime refuses the file.
        """
        return RuntimeModel(self.file.content, self.file.inputs, self.file.outputs, self.settings(), threads)

    def reader(self) -> NumberReader:
        """Reads the numbers of the layers, one after the other."""
        return NumberReader(self.file.tensors)

    def settings(self) -> Mapping[str, str]:
        """Of the runtime's session."""
        return {}

    def _layer(self, reader: NumberReader, model: nn.Module, layer: Layer, number: int, name: str) -> BakedLayer:
        choice, levels = self.description.choice(number), self.description.input(number)
        weight = reader.weight(name, layer, Rows.of_layer(model, layer, choice.weight.granularity), choice.weight)
        bias = reader.bias(f"{name}B", layer) if layer.bias_elements else None
        input = None
        if levels is not None:
            step = torch.from_numpy(reader.array(f"{name}As", ()).copy())
            if self.integers and multiplies_integers(model.get_submodule(layer.module), layer, choice.weight, levels[0]):
                step /= choice.weight.integer_unit or 1.0
            input = QuantizedInput(format=levels[0], signed=levels[1], step=step)
        output = None
        if not (format := layer.output_format(choice.weight, choice.activation)).is_float:
            output = QuantizedInput(format=format, signed=True, step=torch.from_numpy(reader.array(f"{name}Os", ()).copy()))
        return BakedLayer(choice=choice, weight=weight, bias=bias, input=input, output=output)

    def _rest(self, reader: NumberReader, model: nn.Module, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
        """What is no layer's; zeros where the graph does not read it, since the network does not compute with it."""
        names, state = rest_of_state(model, layers), model.state_dict()
        name, found = layout.numbered("R", len(names)), {}
        for number, full in enumerate(names):
            if name(number) in self.file.tensors:
                found[full] = torch.from_numpy(reader.array(name(number), tuple(state[full].shape)).copy())
            else:
                found[full] = torch.zeros_like(state[full])
        return found
