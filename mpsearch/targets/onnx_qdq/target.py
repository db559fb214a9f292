"""`onnx-qdq`: one ONNX file that runtimes turn into integer kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx.file import version_of
from mpsearch.targets.onnx.runtime import runtime_version
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from mpsearch.targets.onnx_qdq.integers import integers_of
from mpsearch.targets.onnx_qdq.write import QdqWriter

__all__ = ["OnnxQdq"]


@TARGETS.register("onnx-qdq")
class OnnxQdq(Target):
    """Weights are INT4 or INT8, inputs go through `QuantizeLinear`; runtimes compute in integers where they have kernels for it."""

    name: ClassVar[str] = "onnx-qdq"
    description: ClassVar[str] = "one ONNX file of INT4 and INT8 weights with QuantizeLinear, which runtimes turn into integer kernels"
    file: ClassVar[str] = "model.qdq.onnx"
    exact: ClassVar[bool] = False
    fuses_roundings: ClassVar[bool] = True

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Weights that are no integers of 4 or 8 bits times a scale, inputs that are powers of two."""
        if activation.kind == "power_of_two":
            return "QuantizeLinear does not round activations to powers of two"
        if not weight.is_float and integers_of(weight) is None:
            return f"weights of the format '{weight}' are no integers of 4 or 8 bits times a scale"
        return ""

    def writer(self, blueprint: Blueprint) -> QdqWriter:
        """What writes the network of a blueprint."""
        return QdqWriter(blueprint)

    def recognises(self, path: Path) -> bool:
        """By the format in the metadata."""
        return super().recognises(path) and version_of(path) == layout.VERSION

    def read(self, path: Path) -> QdqArtifact:
        """Read and check a file."""
        return QdqArtifact.read(path)

    def runtime(self, threads: int) -> str:
        """ONNX Runtime, on the CPU."""
        return runtime_version(f"latency of target '{self.name}'")

    def prepared(self, path: Path, inputs: Any, threads: int) -> Callable[[], object]:
        """A session of the file, with the settings that it names."""
        return self.read(path).executed(threads).prepared(inputs)
