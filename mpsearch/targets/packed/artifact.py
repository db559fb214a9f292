"""`PackedArtifact`: the network stored in a packed file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.layer import Layer
from mpsearch.network.baked import Parts, install
from mpsearch.network.canonical import canonical
from mpsearch.numbers.channels import Rows
from mpsearch.targets.base import Artifact
from mpsearch.targets.packed.file import PackedFile, layer_name, read_file
from mpsearch.targets.packed.unpack import unpack

__all__ = ["PackedArtifact", "read_artifact"]


class PackedArtifact(Artifact):
    """A packed file, from which the network can be built.

    Args:
        file: as read.
    """

    def __init__(self, file: PackedFile) -> None:
        self.file = file
        self.model, self.options = file.model, file.options
        self.bits = 8 * sum(map(len, file.tensors.values()))

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return self.file.allocation

    def layers(self, model: nn.Module) -> tuple[Layer, ...]:
        """The layers in the built float architecture; values that need a forward pass (MACs, activation sizes) are 0.

        Raises:
            ArtifactError: a layer is not in this model.
        """
        wires = enumerate(self.file.wiring)
        return tuple(_find_layer(model, wire, number in self.file.wide, self.file.axes.get(number)) for number, wire in wires)

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        return unpack(self.file, self.layers(model), model)

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        return install(model, self.layers(model), self.parts(model))


def read_artifact(path: Path) -> PackedArtifact:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or is not a packed file.
    """
    return PackedArtifact(read_file(path))


def _find_layer(model: nn.Module, wire: Sequence[str], wide: bool, axes: tuple[int, ...] | None) -> Layer:
    path, parameter, norm, *aliases = wire
    try:
        module = model.get_submodule(path)
        weight = getattr(module, parameter)
        shape = tuple(weight.shape)
        model.get_submodule(norm)
        for alias in aliases:
            model.get_parameter(alias)
    except AttributeError as error:
        raise ArtifactError(f"the artifact's layer '{path}' is not in this model; give the model it was made from") from error
    if axes and axes[-1] >= len(shape):
        raise ArtifactError(f"the artifact's layer '{path}' has other axes than this model; give the model it was made from")
    channels = Rows.of(module, weight, axes=axes).channels
    has_bias = bool(norm) or (axes is None and parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor))
    return Layer(
        name=layer_name(path, parameter),
        module=path,
        parameter=parameter,
        kind=type(module).__name__,
        weight_shape=shape,
        channels=channels,
        macs=0,
        input_elements=0,
        output_elements=0,
        act_quantizable=True,
        signed_input=False,
        bias_elements=channels if has_bias else 0,
        norm=norm,
        aliases=tuple(aliases),
        wide=wide,
        axes=axes,
    )
