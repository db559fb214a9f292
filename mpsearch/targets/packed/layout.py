"""The file layout of the packed artifact: the bytes of each layer and the overhead, for the size cost and the writer.

One safetensors file with six tensors, plus one for each unquantized tensor that is not float32, so that the header stays small:

| tensor | dtype | content, layers in order |
|---|---|---|
| `codes` | uint8 | packed codes, byte-aligned per layer, then its zero points as int8; the weight of a float layer as float32 bytes |
| `scales` | float16 | scales of each quantized layer that is not wide, one per row (multibit: one per plane), times `2^exponent` |
| `exponents` | int8 | two per layer: for its scales and for its folded biases |
| `biases` | bytes | scales of wide layers as float32; BatchNorm-folded biases as float16 (times `2^exponent`), all others as float32 |
| `act_steps` | float32 | the step of each quantized activation; for powers of two the largest level |
| `floats` | float32 | every other parameter and buffer, in `state_dict` order |

A layer is wide if half precision would cost accuracy (`mpsearch.network.batchnorm.needs_float32`): its folded bias is float32, too.

Metadata: `model`, `bits` and `formats` (see `mpsearch.targets.description`), `digest` (BLAKE2b of everything else), `pad` (blanks that
make the header's length the same for every allocation, so that the file's size is exactly `overhead + Σ layer_bytes`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat

__all__ = [
    "ACT_STEP_BYTES",
    "TENSORS",
    "VERSION",
    "bias_bytes",
    "file_digest",
    "header_bytes",
    "header_text",
    "layer_bytes",
    "rows_of",
    "scale_bytes",
    "weight_bytes",
]

VERSION = "mpsearch-2"
"""Value of the metadata key `format`."""

TENSORS = {"codes": "U8", "scales": "F16", "exponents": "I8", "biases": "U8", "act_steps": "F32", "floats": "F32"}
"""Tensor name → safetensors dtype, in file order."""

ACT_STEP_BYTES = 4
_EXPONENT_BYTES = 2
_HEX_DIGEST = 32
_LARGEST_OFFSET = 10**15


def rows_of(layer: Layer, weight: NumberFormat) -> int:
    """Number of rows of a weight, each with its own scale."""
    if weight.granularity == "channel":
        return layer.channels
    return 1 if weight.group is None else layer.weights // weight.group


def weight_bytes(layer: Layer, weight: NumberFormat) -> int:
    """Bytes of the packed codes and zero points, or of the float32 weight."""
    if weight.is_float:
        return 4 * layer.weights
    rows = rows_of(layer, weight)
    return weight.code_bytes(rows, layer.weights // rows) + rows * weight.zero_codes


def scale_bytes(layer: Layer, weight: NumberFormat) -> int:
    """Bytes of the scales of a quantized weight."""
    return 0 if weight.is_float else (4 if layer.wide else 2) * weight.scale_count(rows_of(layer, weight))


def bias_bytes(layer: Layer) -> int:
    """Bytes of the bias: half precision if a BatchNorm is folded in (its outputs are of order one), else float32."""
    return layer.bias_elements * (2 if layer.norm and not layer.wide else 4)


def layer_bytes(layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
    """Bytes of the file for one layer in these stored formats."""
    act = 0 if activation.is_float else ACT_STEP_BYTES
    return weight_bytes(layer, weight) + scale_bytes(layer, weight) + bias_bytes(layer) + act + _EXPONENT_BYTES


def header_bytes(description: Mapping[str, str], extra: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """Length of the safetensors header, its 8-byte prefix included, for offsets of up to 15 digits; the writer pads to it.

    Args:
        description: the metadata of `mpsearch.targets.description`.
        extra: (safetensors dtype, shape) of further tensors by name, such as integer buffers.
    """
    entries: dict[str, Any] = {"__metadata__": {"format": VERSION, **description, "digest": "0" * _HEX_DIGEST, "pad": ""}}
    for name, (dtype, shape) in {**{name: (dtype, (_LARGEST_OFFSET,)) for name, dtype in TENSORS.items()}, **extra}.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [_LARGEST_OFFSET, _LARGEST_OFFSET]}
    return 8 + (len(header_text(entries)) + 7) // 8 * 8


def header_text(entries: Mapping[str, Any]) -> bytes:
    """The safetensors header of these entries."""
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def file_digest(metadata: Mapping[str, str], tensors: Mapping[str, bytes] | Mapping[str, bytearray]) -> str:
    """32 hexadecimal digits over the metadata (without `digest` and `pad`) and every tensor's bytes, in name order."""
    state = hashlib.blake2b(digest_size=_HEX_DIGEST // 2)
    for key in sorted(metadata.keys() - {"digest", "pad"}):
        state.update(f"{key}\0{metadata[key]}\0".encode())
    for name in sorted(tensors):
        state.update(f"{name}\0{len(tensors[name])}\0".encode())
        state.update(tensors[name])
    return state.hexdigest()
