"""The layout of `model.qdq.onnx`, where it differs from that of `model.onnx` (`mpsearch.targets.onnx.layout`).

| names | of |
|---|---|
| `W…q` | codes of a weight, INT4 or INT8 |
| `W…s`, `W…z` | its scales, float32, and its zero points; INT4 without zero points has none |
| `W…As`, `W…Al`, `W…Ah` | step of an input, and below 8 bits its ends |
| `Ku`, `Ki` | the zero of unsigned inputs, 0, and of signed ones, 128 |

Metadata: `session`, as JSON: the settings of ONNX Runtime's session in which the network was scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["OPSET", "SIGNED_ZERO", "UNSIGNED_ZERO", "VERSION", "read_settings", "written_settings"]

VERSION = "mpsearch-onnx-qdq-1"
"""Value of the metadata key `format`."""

OPSET = 21
"""The first with INT4, and with one scale for a group of weights."""

UNSIGNED_ZERO, SIGNED_ZERO = "Ku", "Ki"

_KEY = "session"
_FUSED, _PRECISE = "session.disable_quant_qdq", "session.x64quantprecision"

_ALLOWED = {_FUSED: ("0", "1"), _PRECISE: ("0", "1")}
"""A file may be forged, and other settings name files and libraries to load."""


def written_settings(*, shares_weights: bool) -> dict[str, str]:
    """The settings as metadata.

    Integer kernels take the place of `DequantizeLinear`, operator, `QuantizeLinear`, as by default. On an x86 processor without VNNI they
    multiply uint8 by uint8: by default uint8 by int8, whose sums of two products saturate at 16 bits. ONNX Runtime 1.32 cannot load a file
    so where two operators read one weight.
    """
    settings = {_FUSED: "0", _PRECISE: "0" if shares_weights else "1"}
    return {_KEY: json.dumps(settings, separators=(",", ":"))}


def read_settings(metadata: Mapping[str, str]) -> dict[str, str]:
    """The settings in a file's metadata.

    Raises:
        ValueError: they are none, or not among those that a file may ask for.
    """
    settings = json.loads(metadata.get(_KEY, ""))
    if not isinstance(settings, dict):
        raise ValueError("the settings of its session are no dictionary")
    for key, value in settings.items():
        if not isinstance(value, str) or value not in _ALLOWED.get(key, ()):
            raise ValueError(f"it asks for a session with {key}={value!r:.40}, which no file may set")
    return settings
