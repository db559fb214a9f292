"""The layout of `model.qdq.onnx`, where it differs from that of `model.onnx` (`mpsearch.targets.onnx.layout`).

| names | of |
|---|---|
| `W…q` | codes of a weight, INT2, INT4 or INT8 |
| `W…s`, `W…z` | its scales, float32, and its zero points; most weights without zero points have none |
| `W…As`, `W…Al`, `W…Ah`, `W…Ar` | step of an input, and below 8 bits its ends and the step's reciprocal |
| `W…Os` | step of an output that is rounded before it is added |
| `Ku`, `Ki` | the zero of unsigned inputs, 0, and of signed ones and of outputs, 128 |

Runtimes compute nodes that read constants alone when they load a file, `DequantizeLinear` excepted: they keep that for integer kernels, and
where they have none for it they unpack the weight at every call. So only weights that a kernel can take pass through it, as INT8, by a
`Cast` that is computed at loading; all others through `Cast` and `Mul`, and the operator is computed in float.

Metadata: `session`, as JSON: the settings of the session in which the network was scored; `runtime`: the name of its runtime, where that is
not ONNX Runtime.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ONNX_RUNTIME", "OPENVINO", "OPSET", "RUNTIMES", "SIGNED_ZERO", "UNSIGNED_ZERO", "VERSION", "Session"]

VERSION = "mpsearch-onnx-qdq-1"
"""Value of the metadata key `format`."""

OPSET = 21
"""The first with INT4, and with one scale for a group of weights."""

UNSIGNED_ZERO, SIGNED_ZERO = "Ku", "Ki"

ONNX_RUNTIME, OPENVINO = RUNTIMES = ("onnxruntime", "openvino")
"""Names of the runtimes."""

_RUNTIME, _SESSION = "runtime", "session"
_FUSED, _PRECISE = "session.disable_quant_qdq", "session.x64quantprecision"
_FLOATS, _DYNAMIC = "INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE"

_ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    ONNX_RUNTIME: {_FUSED: ("0", "1"), _PRECISE: ("0", "1")},
    OPENVINO: {_FLOATS: ("f32",), _DYNAMIC: ("0",)},
}
"""A file may be forged, and other settings name files and libraries to load."""


@dataclass(frozen=True)
class Session:
    """In what a file is scored.

    Args:
        runtime: one of `RUNTIMES`.
        settings: of its session.
    """

    runtime: str
    settings: Mapping[str, str]

    @classmethod
    def in_onnxruntime(cls, *, precise: bool) -> Session:
        """A session of ONNX Runtime.

        Integer kernels take the place of `DequantizeLinear`, operator, `QuantizeLinear`, as by default. On x86 they multiply uint8 by int8,
        and where the processor has no VNNI, sums of two products saturate at 16 bits; if `precise`, uint8 by uint8, which takes twice the
        time where there is VNNI. ONNX Runtime 1.32 cannot load a file so where two operators read one weight.
        """
        return cls(ONNX_RUNTIME, {_FUSED: "0", _PRECISE: "1" if precise else "0"})

    @classmethod
    def in_openvino(cls) -> Session:
        """OpenVINO: what the file does not round stays float32; by default it takes bfloat16 or rounds inputs where the processor can."""
        return cls(OPENVINO, {_FLOATS: "f32", _DYNAMIC: "0"})

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Session:
        """The session in a file's metadata.

        Raises:
            ValueError: there is none, or it is not one that a file may ask for.
        """
        runtime, settings = metadata.get(_RUNTIME, ONNX_RUNTIME), json.loads(metadata.get(_SESSION, ""))
        if runtime not in RUNTIMES:
            raise ValueError(f"it asks for the runtime {runtime!r:.40}, which is none of {', '.join(RUNTIMES)}")
        if not isinstance(settings, dict):
            raise ValueError("the settings of its session are no dictionary")
        for key, value in settings.items():
            if not isinstance(value, str) or value not in _ALLOWED[runtime].get(key, ()):
                raise ValueError(f"it asks for a session with {key}={value!r:.40}, which no file may set")
        return cls(runtime, settings)

    def metadata(self) -> dict[str, str]:
        """As a file has it."""
        about = {_SESSION: json.dumps(self.settings, separators=(",", ":"))}
        return about if self.runtime == ONNX_RUNTIME else {_RUNTIME: self.runtime, **about}
