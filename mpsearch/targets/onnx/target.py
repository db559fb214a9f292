"""`onnx`: one ONNX file of packed weights that computes the scored answers in float, in any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx import layout
from mpsearch.targets.onnx.artifact import OnnxArtifact
from mpsearch.targets.onnx.file import OnnxFile, version_of
from mpsearch.targets.onnx.runtime import runtime_version
from mpsearch.targets.onnx.write import OnnxWriter
from mpsearch.targets.skeleton import OLDEST_OPSET, OPSET

__all__ = ["Onnx"]


@TARGETS.register("onnx")
@dataclass(frozen=True, kw_only=True)
class Onnx(Target):
    """Packed weights are unpacked in the graph when a runtime loads it; activations are rounded in float, as mpsearch rounds them.

    Args:
        opset: version of the standard operators, 18 to 20; an older one for older runtimes.

    Raises:
        ConfigError: another version.
    """

    opset: int = OPSET

    name: ClassVar[str] = "onnx"
    description: ClassVar[str] = "one ONNX file of packed weights, exact to float rounding in ONNX Runtime and OpenVINO"
    file: ClassVar[str] = "model.onnx"

    def __post_init__(self) -> None:
        if not OLDEST_OPSET <= self.opset <= OPSET:
            raise ConfigError(
                f"opset: {self.opset} is not supported; {OLDEST_OPSET} is the oldest that networks are exported to, {OPSET} the newest",
                path="opset",
            )

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Inputs that are powers of two and superblocks are refused; every other format is supported."""
        if weight.in_superblocks:
            return "its graph unpacks no superblocks"
        return "no ONNX operator rounds activations to powers of two" if activation.kind == "power_of_two" else ""

    def writer(self, blueprint: Blueprint) -> OnnxWriter:
        """What writes the network of a blueprint."""
        return OnnxWriter(blueprint, self.opset)

    def recognises(self, path: Path) -> bool:
        """Its own files, and those of no format, to say what is wrong with them."""
        return super().recognises(path) and version_of(path) in (layout.VERSION, "")

    def read(self, path: Path) -> OnnxArtifact:
        """Read and check a file."""
        return OnnxArtifact(OnnxFile.read(path, layout.VERSION))

    def timed_in(self, threads: int) -> str:
        """ONNX Runtime, on the CPU."""
        return runtime_version(f"latency of target '{self.name}'")

    def prepared(self, path: Path, inputs: Any, threads: int) -> Callable[[], object]:
        """A session of the file, with the settings that it names."""
        return self.read(path).executed(threads).prepared(inputs)
