"""`encodings`: a float ONNX graph and AIMET's encodings (version 1.0.0) beside it, `net.onnx` and `net.encodings`.

A value is `(q + offset) · scale`, `0 ≤ q < 2^bw`. AIMET names tensors, and a tensor that several layers read has one encoding there; here
an Identity node gives every quantized input of a layer a tensor of its own. Scales are positive in AIMET, so the codes of a channel with a
negative scale change their sign, and its offset is one higher.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.handovers import HANDOVERS
from mpsearch.handovers.base import Handover
from mpsearch.handovers.graph import Added, Array, filled
from mpsearch.network.baked import CodedWeight, Parts, QuantizedInput
from mpsearch.numbers.grid import act_grid
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.skeleton import skeleton_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Encodings"]

_VERSION = "1.0.0"
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@HANDOVERS.register("encodings")
class Encodings(Handover):
    """Weights are float32 on their grid; the encodings say the grid."""

    name: ClassVar[str] = "encodings"
    description: ClassVar[str] = "float ONNX with AIMET encodings 1.0.0 beside it"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Levels that are not whole multiples of a step, and scales of groups, are refused."""
        if weight.kind not in ("float", "uniform", "ternary"):
            return f"encodings have whole multiples of a scale, and {weight.kind} weights are none"
        if weight.granularity not in ("channel", "tensor"):
            return "encodings have one scale for a channel or a tensor, none for a group"
        return "encodings have evenly spaced levels, and powers of two are not" if activation.kind == "power_of_two" else ""

    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """Two files.

        Raises:
            ModelError: the network cannot be exported, or a weight is no direct input of an operator that AIMET quantizes.
            ConfigError: packages of the extra `onnx` are missing.
        """
        weights: list[dict[str, Any]] = []
        inputs: list[dict[str, Any]] = []

        def weight(name: str, layer: Layer, coded: CodedWeight, values: Array) -> Added:
            weights.append({"name": name, **_weight(coded)})
            return [], {name: values}

        def input(value: str, rounded: str, number: int, levels: QuantizedInput) -> Added:
            from onnx import helper

            inputs.append({"name": rounded, **_input(levels)})
            return [helper.make_node("Identity", [value], [rounded], name=f"Quantized{number}_{rounded}")], {}

        model = filled(skeleton_of(blueprint, "hand-over format 'encodings'"), blueprint, parts, weight, input, {})
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        _check_readers(model, {each["name"] for each in weights})
        encodings = {
            "version": _VERSION,
            "activation_encodings": inputs,
            "param_encodings": weights,
            "excluded_layers": [],
            "producer": "mpsearch",
            "quantizer_args": _DEFAULTS,
        }
        return {out: model.SerializeToString(), out.with_suffix(".encodings"): json.dumps(encodings, indent=1).encode()}


_DEFAULTS = {
    "activation_bitwidth": 8,
    "param_bitwidth": 8,
    "dtype": "int",
    "per_channel_quantization": True,
    "quant_scheme": "post_training_tf",
    "is_symmetric": True,
}
"""What AIMET takes for tensors without an encoding; tools that load the file disable those."""


def _weight(coded: CodedWeight) -> dict[str, Any]:
    bits, scales = coded.format.bits, coded.scales.numbers().double().numpy()
    lowest = -(2 ** (bits - 1)) - (0 if coded.zeros is None else coded.zeros.numpy().astype(int))
    offsets = np.where(scales < 0, -(lowest + 2**bits - 1), lowest + np.zeros(len(scales), dtype=int))
    return {
        "bw": bits,
        "dtype": "INT",
        "enc_type": "PER_TENSOR" if coded.format.granularity == "tensor" else "PER_CHANNEL",
        "is_sym": bool((offsets == -(2 ** (bits - 1))).all()),
        "scale": np.maximum(np.abs(scales), 1e-30).tolist(),
        "offset": offsets.tolist(),
    }


def _input(levels: QuantizedInput) -> dict[str, Any]:
    grid = act_grid(levels.format.bits, levels.signed)
    about = {"bw": levels.format.bits, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": levels.signed}
    return {**about, "scale": [float(levels.step)], "offset": [grid.lo]}


def _check_readers(model: onnx.ModelProto, weights: set[str]) -> None:
    read = {node.input[1] for node in model.graph.node if node.op_type in _LAYERS}
    for name in sorted(weights - read):
        raise ModelError(
            f"hand-over format 'encodings': the weight '{name}' is no direct input of {', '.join(sorted(_LAYERS))}, where AIMET looks "
            "for it; keep this layer float in the space"
        )
