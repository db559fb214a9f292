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

Metadata: `model` (compressed JSON: architecture, layer names, granularity and axes where no class tells them, the numbers of the wide
layers), `bits` (three characters per layer: `28u` is 2-bit weights and 8-bit unsigned activations, `-` is float), `formats` (one letter per
layer: that of the kind in `mpsearch.core.number_format`, `u` for uniform, `z` for uniform with a zero point, `-` for float), `digest`
(BLAKE2b of everything else), `pad` (blanks that make the header's length the same for every allocation, so that the file's size is exactly
`overhead + Σ layer_bytes`).

Activations of b bits and step s have the levels

| letter | levels |
|---|---|
| `u` | `0, 1 … 2^b − 1`, times s |
| `s` | `−2^(b−1) … 2^(b−1) − 1`, times s |
| `p` | 0 and the powers of two `2^−k · s`, `k < min(2^(b−1), 16)` |
| `q` | `±2^−k · s`, the same k, without a zero |
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, Granularity, NumberFormat
from mpsearch.network.baked import QuantizedInput

__all__ = [
    "ACT_STEP_BYTES",
    "INPUT_LETTERS",
    "TENSORS",
    "VERSION",
    "bias_bytes",
    "compress",
    "decompress",
    "file_digest",
    "header_bytes",
    "header_text",
    "input_format",
    "layer_bytes",
    "rows_of",
    "scale_bytes",
    "spell_bits",
    "spell_format",
    "weight_bytes",
    "weight_format",
]

VERSION = "mpsearch-2"
"""Value of the metadata key `format`."""

TENSORS = {"codes": "U8", "scales": "F16", "exponents": "I8", "biases": "U8", "act_steps": "F32", "floats": "F32"}
"""Tensor name → safetensors dtype, in file order."""

ACT_STEP_BYTES = 4
_EXPONENT_BYTES = 2
_HEX_DIGEST = 32
_LARGEST_OFFSET = 10**15
_UNIFORM, _ZERO_POINT = "u", "z"
_INPUT_LETTERS = {("uniform", False): "u", ("uniform", True): "s", ("power_of_two", False): "p", ("power_of_two", True): "q"}
INPUT_LETTERS = "".join(_INPUT_LETTERS.values())
"""Letters of the activation levels, see the table above."""


def rows_of(layer: Layer, weight: NumberFormat) -> int:
    """Number of rows of a weight, each with its own scale."""
    if weight.granularity == "channel":
        return layer.channels
    return 1 if weight.granularity == "tensor" else layer.weights // weight.granularity


def weight_bytes(layer: Layer, weight: NumberFormat) -> int:
    """Bytes of the packed codes and zero points, or of the float32 weight."""
    if weight.is_float:
        return 4 * layer.weights
    rows = rows_of(layer, weight)
    return weight.code_bytes(rows, layer.weights // rows) + rows * weight.zero_point


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


def header_bytes(model: Mapping[str, Any], layer_count: int, extra: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """Length of the safetensors header, its 8-byte prefix included, for offsets of up to 15 digits; the writer pads to it.

    Args:
        model: plain data of the metadata key `model`.
        layer_count: L.
        extra: (safetensors dtype, shape) of further tensors by name, such as integer buffers.
    """
    entries: dict[str, Any] = {
        "__metadata__": {
            "format": VERSION,
            "model": compress(model),
            "bits": "-" * 3 * layer_count,
            "formats": "-" * layer_count,
            "digest": "0" * _HEX_DIGEST,
            "pad": "",
        }
    }
    for name, (dtype, shape) in {**{name: (dtype, (_LARGEST_OFFSET,)) for name, dtype in TENSORS.items()}, **extra}.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [_LARGEST_OFFSET, _LARGEST_OFFSET]}
    return 8 + (len(header_text(entries)) + 7) // 8 * 8


def header_text(entries: Mapping[str, Any]) -> bytes:
    """The safetensors header of these entries."""
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def spell_bits(weight: NumberFormat, input: QuantizedInput | None) -> str:
    """Three characters: weight bits, activation bits, levels of the activation."""
    bits = "-" if weight.is_float else str(weight.bits)
    return f"{bits}--" if input is None else f"{bits}{input.format.bits}{_INPUT_LETTERS[input.format.kind, input.signed]}"


def spell_format(weight: NumberFormat) -> str:
    """One letter for the kind, `-` for a float weight, `z` for uniform numbers with a zero point."""
    if weight.zero_point:
        return _ZERO_POINT
    return "-" if weight.is_float else NUMBER_KINDS[weight.kind].letter or _UNIFORM


def weight_format(bits: str, letter: str, granularity: Granularity = "channel") -> NumberFormat:
    """The weight's format from its bits, letter and granularity.

    Raises:
        ValueError: there is no such format.
    """
    if bits == letter == "-":
        return FLOAT
    kinds = {kind.letter or _UNIFORM: name for name, kind in NUMBER_KINDS.items()} | {_ZERO_POINT: "uniform"}
    if "-" in (bits, letter) or letter not in kinds:
        raise ValueError(f"format '{letter}' of a weight of '{bits}' bits is unknown")
    return NumberFormat(kinds[letter], int(bits), granularity, zero_point=letter == _ZERO_POINT)


def input_format(bits: str, letter: str) -> tuple[NumberFormat, bool] | None:
    """The input's format and whether it is signed; None for a float input."""
    if bits == "-":
        return None
    kind, signed = next(key for key, value in _INPUT_LETTERS.items() if value == letter)
    return NumberFormat(kind, int(bits)), signed


def compress(plain: Mapping[str, Any]) -> str:
    """JSON → short ASCII text."""
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()
    return base64.b85encode(zlib.compress(text, 9)).decode()


def decompress(text: str) -> dict[str, Any]:
    """Inverse of `compress`.

    Raises:
        ValueError: the text is invalid or unpacks to more than 16 MiB.
    """
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(base64.b85decode(text), 2**24)
    except zlib.error as error:
        raise ValueError(f"compressed metadata cannot be read: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError("compressed metadata unpacks to more than 16 MiB")
    plain: dict[str, Any] = json.loads(raw)
    return plain


def file_digest(metadata: Mapping[str, str], tensors: Mapping[str, bytes] | Mapping[str, bytearray]) -> str:
    """32 hexadecimal digits over the metadata (without `digest` and `pad`) and every tensor's bytes, in name order."""
    state = hashlib.blake2b(digest_size=_HEX_DIGEST // 2)
    for key in sorted(metadata.keys() - {"digest", "pad"}):
        state.update(f"{key}\0{metadata[key]}\0".encode())
    for name in sorted(tensors):
        state.update(f"{name}\0{len(tensors[name])}\0".encode())
        state.update(tensors[name])
    return state.hexdigest()
