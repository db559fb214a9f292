"""The artifact's file layout: which bytes a layer takes, and what surrounds them. The size cost and the writer both read it here.

One safetensors file with six tensors (and one for each unquantized tensor that is not float32), so that the header stays small:

| tensor | dtype | content, layers in order |
|---|---|---|
| `codes` | uint8 | packed codes, each layer starting at a byte; a float layer's weight as float32 bytes |
| `scales` | float16 | of each quantized layer, one an output channel (multibit: one a plane), to be multiplied by `2^exponent` |
| `exponents` | int8 | two a layer: of its scales, of its folded biases |
| `biases` | bytes | BatchNorm-folded biases as float16 (times `2^exponent`), other biases as float32 |
| `act_steps` | float32 | the step of each quantized activation, of one in powers of two its largest level |
| `floats` | float32 | every other parameter and buffer, in `state_dict` order |

Metadata: `model` (what to build and the layers' names, compressed JSON), `bits` (three characters a layer: `28u` is 2-bit weights and 8-bit
unsigned activations, see `mpsearch.numbers.act_formats`, `-` is float), `formats` (one letter a layer, see `mpsearch.numbers.formats`, `-`
is float), `digest` (BLAKE2b of everything else), `pad` (blanks that make the header's length the same for every allocation, so that the
file's size is exactly `overhead + Σ layer_bytes`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.layer import Layer
from mpsearch.numbers.act_formats import ActFormat
from mpsearch.numbers.formats import Format, grid_format

__all__ = [
    "ACT_STEP_BYTES",
    "TENSORS",
    "VERSION",
    "bias_bytes",
    "compress",
    "decompress",
    "file_digest",
    "header_bytes",
    "layer_bytes",
    "overhead_bytes",
    "scale_bytes",
    "spell_bits",
    "spell_format",
    "weight_bytes",
]

VERSION = "mpsearch-2"
"""What a file says its format is."""

TENSORS = {"codes": "U8", "scales": "F16", "exponents": "I8", "biases": "U8", "act_steps": "F32", "floats": "F32"}
"""Tensor name → safetensors dtype, in file order."""

ACT_STEP_BYTES = 4
_EXPONENT_BYTES = 2
_HEX_DIGEST = 32
_LARGEST_OFFSET = 10**15


def weight_bytes(layer: Layer, choice: Choice, format: Format | None = None) -> int:
    """Packed codes, or the float32 weight; `format` is that of the default grid unless given."""
    if choice.weight_bits == FLOAT_BITS:
        return 4 * layer.weights
    format = format or grid_format(choice.weight_bits)
    return format.code_bytes(layer.channels, layer.weights // layer.channels, choice.weight_bits)


def scale_bytes(layer: Layer, choice: Choice, format: Format | None = None) -> int:
    """Half-precision scales of a quantized weight."""
    if choice.weight_bits == FLOAT_BITS:
        return 0
    return 2 * (format or grid_format(choice.weight_bits)).scale_count(layer.channels, choice.weight_bits)


def bias_bytes(layer: Layer) -> int:
    """Half precision where a BatchNorm is folded in (its outputs are of order one), float32 elsewhere."""
    return layer.bias_elements * (2 if layer.norm else 4)


def layer_bytes(layer: Layer, choice: Choice, format: Format | None = None) -> int:
    """All bytes of the file that belong to one layer under one choice."""
    act = 0 if choice.act_bits == FLOAT_BITS else ACT_STEP_BYTES
    return weight_bytes(layer, choice, format) + scale_bytes(layer, choice, format) + bias_bytes(layer) + act + _EXPONENT_BYTES


def overhead_bytes(
    model: Mapping[str, Any], layer_count: int, float_elements: int, extra: Mapping[str, tuple[str, Sequence[int], int]]
) -> int:
    """Bytes no choice changes: the header and the unquantized tensors.

    Args:
        model: what `compress` puts into the metadata.
        layer_count: L.
        float_elements: number of float32 values outside the layers.
        extra: further tensors by name: (safetensors dtype, shape, bytes), such as integer buffers.
    """
    return header_bytes(model, layer_count, extra) + 4 * float_elements + sum(size for _, _, size in extra.values())


def header_bytes(model: Mapping[str, Any], layer_count: int, extra: Mapping[str, tuple[str, Sequence[int], int]]) -> int:
    """Length of the safetensors header, its 8-byte prefix included, for offsets of up to 15 digits; the writer pads to it."""
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
    for name, dtype in TENSORS.items():
        entries[name] = {"dtype": dtype, "shape": [_LARGEST_OFFSET], "data_offsets": [_LARGEST_OFFSET, _LARGEST_OFFSET]}
    for name, (dtype, shape, _) in extra.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [_LARGEST_OFFSET, _LARGEST_OFFSET]}
    length = len(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + (length + 7) // 8 * 8


def spell_bits(choice: Choice, act_format: ActFormat | None) -> str:
    """Three characters: weight bits, activation bits, format of the activation."""
    weight = "-" if choice.weight_bits == FLOAT_BITS else str(choice.weight_bits)
    if act_format is None:
        return f"{weight}--"
    return f"{weight}{choice.act_bits}{act_format.letter}"


def spell_format(format: Format | None) -> str:
    """Its letter, or `-` for a float weight."""
    return "-" if format is None else format.letter


def compress(plain: Mapping[str, Any]) -> str:
    """JSON → short ASCII text."""
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()
    return base64.b85encode(zlib.compress(text, 9)).decode()


def decompress(text: str) -> dict[str, Any]:
    """Inverse of `compress`.

    Raises:
        ValueError: not such a text, or one that unpacks to more than 16 MiB.
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
