"""`packed`: one safetensors file of packed integers, the default target."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import Parts
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.artifact import PackedArtifact, read_artifact
from mpsearch.targets.packed.write import file_overhead, write_artifact

__all__ = ["Packed"]


@TARGETS.register("packed")
class Packed(Target):
    """One safetensors file without pickle or code; layout in `mpsearch.targets.packed.layout`."""

    name: ClassVar[str] = "packed"
    description: ClassVar[str] = "one safetensors file of packed integers, read by mpsearch.load"
    file: ClassVar[str] = "model.safetensors"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Every format is supported."""
        return ""

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Codes, scales, bias, activation step and exponents."""
        return layout.layer_bytes(layer, weight, activation)

    def overhead_bytes(self, blueprint: Blueprint, model: nn.Module) -> int:
        """Header and unquantized tensors."""
        return file_overhead(blueprint, model)

    def write(self, path: Path, blueprint: Blueprint, parts: Parts) -> int:
        """Write the file atomically."""
        return write_artifact(path, blueprint, parts)

    def read(self, path: Path) -> PackedArtifact:
        """Read and check a file."""
        return read_artifact(path)
