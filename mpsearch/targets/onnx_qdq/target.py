"""`onnx-qdq`: one ONNX file that runtimes turn into integer kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mpsearch.core.errors import ConfigError
from mpsearch.core.extras import needs
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.survey import Survey
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx.file import version_of
from mpsearch.targets.onnx.runtime import runtime_version
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from mpsearch.targets.onnx_qdq.int2 import check_runtime_loads_int2
from mpsearch.targets.onnx_qdq.integers import integers_of
from mpsearch.targets.onnx_qdq.write import QdqWriter

__all__ = ["OnnxQdq"]


@TARGETS.register("onnx-qdq")
@dataclass(frozen=True, kw_only=True)
class OnnxQdq(Target):
    """Weights are INT4 or INT8, inputs go through `QuantizeLinear`; runtimes compute in integers where they have kernels for it.

    Args:
        runtime: in which the file is scored, `onnxruntime` or `openvino`; the file says so, and `mpsearch evaluate` obeys.
        int2: whether weights that two bits hold are INT2, at opset 25. ONNX Runtime alone loads them.
        vnni: whether all processors for which the file is meant multiply bytes without saturation (VNNI of x86, any ARM): weights of 8 bits
            then keep the faster kernels, which elsewhere answer wrongly.

    Raises:
        ConfigError: another runtime, or one that does not load INT2.
    """

    runtime: str = layout.ONNX_RUNTIME
    int2: bool = False
    vnni: bool = False

    name: ClassVar[str] = "onnx-qdq"
    description: ClassVar[str] = "one ONNX file of INT4 and INT8 weights with QuantizeLinear, which runtimes turn into integer kernels"
    file: ClassVar[str] = "model.qdq.onnx"
    exact: ClassVar[bool] = False
    fuses_roundings: ClassVar[bool] = True
    rounds_edges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.runtime not in layout.RUNTIMES:
            raise ConfigError(f"runtime: '{self.runtime}' is none of {', '.join(layout.RUNTIMES)}", path="runtime")
        if self.int2 and self.runtime == layout.OPENVINO:
            raise ConfigError("int2: OpenVINO loads no INT2 weights; take runtime onnxruntime, or leave out int2", path="int2")

    def layers(self, surveyed: Survey) -> tuple[Layer, ...]:
        """ONNX Runtime fuses a layer with one rounding alone, and adds biases as integers; OpenVINO does neither."""
        return surveyed.on_edges(shared=self.runtime != layout.OPENVINO)

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Weights that are no integers of 4 or 8 bits times a scale, inputs that are powers of two."""
        if activation.kind == "power_of_two":
            return "QuantizeLinear does not round activations to powers of two"
        if not weight.is_float and (integers_of(weight) is None or weight.in_superblocks):
            return f"weights of the format '{weight}' are no integers of 4 or 8 bits times a scale"
        return ""

    def writer(self, blueprint: Blueprint) -> QdqWriter:
        """What writes the network of a blueprint.

        Raises:
            ModelError: the network cannot be exported.
            ConfigError: the runtime is not installed, or does not load INT2.
        """
        purpose = f"target '{self.name}'"
        if self.runtime == layout.OPENVINO:
            needs(f"{purpose} with runtime openvino", "openvino", "openvino")
        if self.int2:
            check_runtime_loads_int2(purpose)
        return QdqWriter(blueprint, self.runtime, int2=self.int2, vnni=self.vnni)

    def recognises(self, path: Path) -> bool:
        """By the format in the metadata."""
        return super().recognises(path) and version_of(path) == layout.VERSION

    def read(self, path: Path) -> QdqArtifact:
        """Read and check a file."""
        return QdqArtifact.read(path)

    def timed_in(self, threads: int) -> str:
        """The runtime of the target's settings, on the CPU."""
        purpose = f"latency of target '{self.name}'"
        if self.runtime != layout.OPENVINO:
            return runtime_version(purpose) + (", 8-bit weights as with VNNI" if self.vnni else "")
        needs(purpose, "openvino", "openvino")
        import openvino

        return f"openvino {openvino.__version__}"

    def prepared(self, path: Path, inputs: Any, threads: int) -> Callable[[], object]:
        """A session of the file, with the settings that it names."""
        return self.read(path).executed(threads).prepared(inputs)
