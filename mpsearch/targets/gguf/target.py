"""`gguf`: a language model in one file that llama.cpp runs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.gguf.artifact import GgufArtifact, read_artifact
from mpsearch.targets.gguf.blocks import TYPES
from mpsearch.targets.gguf.write import GgufWriter

__all__ = ["Gguf"]


@TARGETS.register("gguf")
class Gguf(Target):
    """Weights are blocks of ggml, exactly as scored; llama.cpp rounds inputs of products by itself, so its answers differ a little."""

    name: ClassVar[str] = "gguf"
    description: ClassVar[str] = "language models for llama.cpp: Q2_K to Q8_0 and F32, chosen layer by layer"
    file: ClassVar[str] = "model.gguf"
    exact: ClassVar[bool] = False
    mixes_granularities: ClassVar[bool] = True

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Formats without a block, rows that blocks do not fill, and rounded inputs."""
        if not activation.is_float:
            return "llama.cpp rounds inputs by itself; leave activations float"
        if weight not in TYPES:
            return f"no block of ggml holds weights of the format '{weight}'; those of {', '.join(map(str, TYPES))} are held"
        if len(layer.weight_shape) != 2:
            return f"a weight of {len(layer.weight_shape)} axes is no matrix"
        if layer.weight_shape[1] % TYPES[weight].values:
            return f"{layer.weight_shape[1]} inputs are no multiple of the {TYPES[weight].values} of a block"
        return ""

    def writer(self, blueprint: Blueprint) -> GgufWriter:
        """What writes the network of a blueprint."""
        return GgufWriter(blueprint)

    def read(self, path: Path) -> GgufArtifact:
        """Read and check a file."""
        return read_artifact(path)
