"""`packed`: one safetensors file of packed integers, the default target."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.artifact import PackedArtifact, read_artifact
from mpsearch.targets.packed.write import PackedWriter

__all__ = ["Packed"]


@TARGETS.register("packed")
class Packed(Target):
    """One safetensors file without pickle or code; layout in `mpsearch.targets.packed.layout`."""

    name: ClassVar[str] = "packed"
    description: ClassVar[str] = "one safetensors file of packed integers, read by mpsearch.load"
    file: ClassVar[str] = "model.safetensors"
    mixes_granularities: ClassVar[bool] = True

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Every format is supported."""
        return ""

    def writer(self, blueprint: Blueprint) -> PackedWriter:
        """What writes the network of a blueprint."""
        return PackedWriter(blueprint)

    def read(self, path: Path) -> PackedArtifact:
        """Read and check a file."""
        return read_artifact(path)
