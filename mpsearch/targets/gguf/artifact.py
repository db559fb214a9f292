"""`GgufArtifact`: the network stored in a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.base import Artifact
from mpsearch.targets.description import Description
from mpsearch.targets.gguf import blocks
from mpsearch.targets.gguf.architecture import Architecture, architecture_of
from mpsearch.targets.gguf.container import Container
from mpsearch.targets.gguf.runtime import LlamaCpp, installed
from mpsearch.targets.gguf.write import VERSION, weight_name

__all__ = ["GgufArtifact", "read_artifact"]


class GgufArtifact(Artifact):
    """A GGUF file, from which the network can be built, or which llama.cpp runs.

    Args:
        container: as read.
        description: network and formats.
    """

    def __init__(self, container: Container, description: Description) -> None:
        self.container, self.description = container, description
        self.model, self.options = description.model, description.options
        self.bits = 8 * container.size

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return self.description.allocation

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        try:
            architecture = architecture_of(model)
        except ModelError as error:
            raise ArtifactError(f"the artifact is not of this model ({error}); give the model it was made from") from error
        layers, state = self.description.layers(model), model.state_dict()
        return Parts(
            layers={layer.name: self._layer(architecture, layer, number) for number, layer in enumerate(layers)},
            rest={name: self._floats(architecture, name, tuple(state[name].shape)) for name in rest_of_state(model, layers)},
        )

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        return install(model, self.description.layers(model), self.parts(model))

    def executed(self, threads: int = 1) -> LlamaCpp | None:
        """The file in llama.cpp; None if `llama_cpp` is not installed."""
        return LlamaCpp(self.container.path, threads) if installed() else None

    def _layer(self, architecture: Architecture, layer: Layer, number: int) -> BakedLayer:
        choice, name = self.description.choice(number), weight_name(layer)
        weight: FloatWeight | CodedWeight
        if choice.weight.is_float:
            weight = FloatWeight(values=self._floats(architecture, name, layer.weight_shape))
        else:
            weight = self._coded(architecture, layer, name, choice.weight)
        bias = self._floats(architecture, f"{layer.module}.bias", (layer.bias_elements,)) if layer.bias_elements else None
        return BakedLayer(choice=choice, weight=weight, bias=bias)

    def _coded(self, architecture: Architecture, layer: Layer, name: str, format: NumberFormat) -> CodedWeight:
        if format not in blocks.TYPES:
            raise ArtifactError(f"the artifact's layer '{layer.name}' has the format '{format}', which no block holds; get it again")
        inside, rows = architecture.name(name), layer.weight_shape[0]
        size = blocks.tensor_bytes(format, layer.weights)
        self._check(inside, layer.weight_shape, blocks.TYPES[format].number)
        stored = np.frombuffer(self.container.bytes_of(inside, size), dtype=np.uint8).reshape(rows, -1)
        restored = np.empty_like(stored)
        restored[architecture.order(name, rows)] = stored
        codes, scales = blocks.split(format, restored.reshape(-1, blocks.TYPES[format].size))
        return CodedWeight(format=format, codes=torch.from_numpy(codes), scales=StoredNumbers(values=torch.from_numpy(scales)))

    def _floats(self, architecture: Architecture, name: str, shape: tuple[int, ...]) -> Tensor:
        inside = architecture.name(name)
        self._check(inside, shape, blocks.F32.number)
        stored = np.frombuffer(self.container.bytes_of(inside, 4 * int(np.prod(shape))), dtype="<f4").reshape(shape)
        restored = np.empty(shape, dtype=np.float32)
        restored[architecture.order(name, shape[0])] = stored
        return torch.from_numpy(restored)

    def _check(self, inside: str, shape: tuple[int, ...], type: int) -> None:
        found = self.container.tensors.get(inside)
        if found is None or found.shape != shape or found.type != type:
            raise ArtifactError(f"the artifact's tensor '{inside}' is not that of this model; give the model it was made from")


def read_artifact(path: Path) -> GgufArtifact:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or was not written by mpsearch.
    """
    container = Container.read(path)
    ours: Mapping[str, str] = container.ours
    if ours.get("format") != VERSION:
        raise ArtifactError(f"{path} was written by another version of mpsearch (it lacks format={VERSION}); export it again")
    try:
        description = Description.read(ours)
    except ValueError as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    return GgufArtifact(container, description)
