"""`PackedArtifact`: the network stored in a packed file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.layer import Layer
from mpsearch.network.baked import Parts, install_each
from mpsearch.network.canonical import canonical
from mpsearch.targets.base import Artifact
from mpsearch.targets.packed.file import PackedFile, read_file
from mpsearch.targets.packed.unpack import Unpacking, unpack

__all__ = ["PackedArtifact", "read_artifact"]


class PackedArtifact(Artifact):
    """A packed file, from which the network can be built.

    Args:
        file: as read.
    """

    def __init__(self, file: PackedFile) -> None:
        self.file = file
        self.model, self.options = file.description.model, file.description.options
        self.bits = 8 * sum(map(file.tensors.size, file.tensors))

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return self.file.description.allocation

    def layers(self, model: nn.Module) -> tuple[Layer, ...]:
        """The layers in the built float architecture; values that need a forward pass (MACs, activation sizes) are 0.

        Raises:
            ArtifactError: a layer is not in this model.
        """
        return self.file.description.layers(model)

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        return unpack(self.file, self.layers(model), model)

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run; beside it, only one layer is in memory at a time.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        layers = self.layers(model)
        with Unpacking(self.file, layers).reading() as unpacking:
            return install_each(model, layers, unpacking.layers(), unpacking.rest(model))


def read_artifact(path: Path) -> PackedArtifact:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or is not a packed file.
    """
    return PackedArtifact(read_file(path))
