"""C that unpacks the weights of one output channel: codes to small integers where an integer scale does for the channel, else to floats."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets.c.steps import CFunction
from mpsearch.targets.packed.layout import rows_of

__all__ = ["FLOAT_AT", "HALF", "HALF_AT", "Places", "Row", "row_of"]

HALF = CFunction("""
/* A finite half-precision number. */
static float half(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits >> 15) << 31, exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
    uint32_t word;
    float value;
    if (exponent == 0u)
        return sign ? -ldexpf((float)fraction, -24) : ldexpf((float)fraction, -24);
    word = sign | ((exponent + 112u) << 23) | (fraction << 13);
    memcpy(&value, &word, sizeof value);
    return value;
}
""")

HALF_AT = CFunction(
    """
static float half_at(const uint8_t *bytes)
{
    uint16_t bits;
    memcpy(&bits, bytes, sizeof bits);
    return half(bits);
}
""",
    (HALF,),
)

FLOAT_AT = CFunction("""
static float float_at(const uint8_t *bytes)
{
    float value;
    memcpy(&value, bytes, sizeof value);
    return value;
}
""")

_BITS = """
/* `count` codes of two's complement from number `first` on, times `gain`, plus `shift`. */
static void unpack_NAME(W *row, const uint8_t *codes, uint32_t first, uint32_t count, unsigned bits, int gain, int shift)
{
    const unsigned mask = (1u << bits) - 1u, top = 1u << (bits - 1u);
    uint32_t i, at = first * bits;
    for (i = 0; i < count; i++, at += bits) {
        unsigned word = codes[at >> 3];
        if ((at & 7u) + bits > 8u)
            word |= (unsigned)codes[(at >> 3) + 1u] << 8;
        row[i] = (W)(((int)(((word >> (at & 7u)) & mask) ^ top) - (int)top) * gain + shift);
    }
}
"""

_TRITS = """
/* `count` ternary codes from number `first` on, five to a byte. */
static void unpack_trits_NAME(W *row, const uint8_t *codes, uint32_t first, uint32_t count)
{
    uint32_t i, left = 5u - first % 5u;
    unsigned byte = codes[first / 5u];
    for (i = left; i < 5u; i++)
        byte /= 3u;
    for (codes += first / 5u, i = 0; i < count; i++, byte /= 3u, left--) {
        if (left == 0u) {
            byte = *++codes;
            left = 5u;
        }
        row[i] = (W)((int)(byte % 3u) - 1);
    }
}
"""

_POWERS = """
/* Signed powers of two, in units of the smallest. */
static void unpack_powers_NAME(W *row, const uint8_t *codes, uint32_t first, uint32_t count, unsigned bits)
{
    const int deepest = (1 << (bits - 1u)) - 1;
    uint32_t i;
    unpack_NAME(row, codes, first, count, bits, 1, 0);
    for (i = 0; i < count; i++)
        row[i] = (W)(row[i] < 0 ? -(1 << (deepest + 1 + row[i])) : 1 << (deepest - row[i]));
}
"""

_DEEP_POWERS = """
/* Signed powers of two, 1 the largest. */
static void unpack_deep_powers(float *row, const uint8_t *codes, uint32_t first, uint32_t count, unsigned bits)
{
    uint32_t i;
    unpack_float(row, codes, first, count, bits, 1, 0);
    for (i = 0; i < count; i++)
        row[i] = row[i] < 0.0f ? -ldexpf(1.0f, 1 + (int)row[i]) : ldexpf(1.0f, -(int)row[i]);
}
"""

_SCALED = CFunction("""
static void scaled(float *row, uint32_t count, float scale)
{
    uint32_t i;
    for (i = 0; i < count; i++)
        row[i] *= scale;
}
""")

_SIGNS = """
/* A channel as a sum of scaled signs: numbers of planes, four bits a channel, then the planes. */
static void unpack_signs_WIDTH(float *row, const uint8_t *codes, uint32_t channels, uint32_t channel, uint32_t count,
    const uint8_t *scales, int exponent)
{
    uint32_t i, plane = 0, last;
    for (i = 0; i < channel; i++)
        plane += (codes[i / 2u] >> (i % 2u * 4u)) & 15u;
    last = plane + ((codes[channel / 2u] >> (channel % 2u * 4u)) & 15u);
    for (i = 0; i < count; i++)
        row[i] = 0.0f;
    for (codes += (channels + 1u) / 2u; plane < last; plane++) {
        const float scale = ldexpf(READ, exponent);
        for (i = 0; i < count; i++) {
            const uint32_t at = plane * count + i;
            row[i] += (codes[at >> 3] >> (at & 7u)) & 1u ? scale : -scale;
        }
    }
}
"""


@dataclass(frozen=True)
class Places:
    """Where the numbers of a layer lie in the arrays of the file.

    Args:
        number: of the layer.
        codes: first byte in `codes`.
        scales: first number in `scales`, or first byte in `biases` for a wide layer.
        bias: first byte in `biases`.
        step: number in `act_steps`.
    """

    number: int
    codes: int
    scales: int
    bias: int
    step: int


@dataclass(frozen=True)
class Row:
    """How a channel's weights are unpacked.

    Args:
        kind: C type of the unpacked numbers.
        largest: magnitude of the largest integer; 0 for floats.
        text: C that fills `row` for `channel`.
        scale: C of what the numbers are multiplied by.
        functions: that both call.
    """

    kind: str
    largest: int
    text: str
    scale: str
    functions: tuple[CFunction, ...]


def row_of(layer: Layer, weight: NumberFormat, columns: int, at: Places) -> Row:
    """The unpacking of a layer's channels, `columns` weights each, in a stored format."""
    codes = f"codes + {at.codes}u"
    if weight.is_float:
        text = f"memcpy(row.values, {codes} + channel * {4 * columns}u, {4 * columns}u);"
        return Row("float", 0, text, "1.0f", ())
    if weight.kind == "multibit":
        return _signs(layer, columns, at)
    zeros = at.codes + weight.code_bytes(rows_of(layer, weight), layer.weights // rows_of(layer, weight))
    if isinstance(weight.granularity, int):
        return _grouped(layer, weight, columns, at, zeros)
    scale, functions = _scale(layer, at, "channel" if weight.granularity == "channel" else "0u")
    where = "channel" if weight.granularity == "channel" else "0u"
    if weight.kind == "ternary":
        return Row(
            "int8_t", 1, f"unpack_trits_int8(row.bytes, {codes}, channel * {columns}u, {columns}u);", scale, (*functions, _trits("int8_t"))
        )
    if weight.kind == "power_of_two":
        if weight.bits > 4:
            text = f"unpack_deep_powers(row.values, {codes}, channel * {columns}u, {columns}u, {weight.bits}u);"
            return Row("float", 0, text, scale, (*functions, _deep_powers()))
        deepest = 2 ** (weight.bits - 1) - 1
        kind, place = ("int8_t", "row.bytes") if deepest < 7 else ("int16_t", "row.words")
        text = f"unpack_powers_{_short(kind)}({place}, {codes}, channel * {columns}u, {columns}u, {weight.bits}u);"
        return Row(kind, 2**deepest, text, f"ldexpf({scale}, -{deepest})", (*functions, _powers(kind)))
    gain, shift, largest = _line(weight, zeros, where)
    kind, place = ("int8_t", "row.bytes") if largest <= 128 else ("int16_t", "row.words")
    text = f"unpack_{_short(kind)}({place}, {codes}, channel * {columns}u, {columns}u, {weight.bits}u, {gain}, {shift});"
    return Row(kind, largest, text, f"0.5f * {scale}" if gain == 2 else scale, (*functions, _bits(kind)))


def _line(weight: NumberFormat, zeros: int, where: str) -> tuple[int, str, int]:
    """Gain, shift and largest magnitude of integers that are codes on a line through zero."""
    if weight.kind == "half_step":
        return 2, "1", 2**weight.bits - 1
    if weight.zero_point:
        return 1, f"128 - (int)(codes[{zeros}u + {where}] ^ 128u)", 2**weight.bits - 1
    return 1, "0", 2 ** (weight.bits - 1)


def _grouped(layer: Layer, weight: NumberFormat, columns: int, at: Places, zeros: int) -> Row:
    size = int(weight.granularity)
    parts = columns // size
    scale, functions = _scale(layer, at, "group")
    where = f"row.values + part * {size}u, codes + {at.codes}u, group * {size}u, {size}u"
    if weight.kind == "ternary":
        call, needed = f"unpack_trits_float({where});", _trits("float")
    elif weight.kind == "power_of_two":
        call, needed = f"unpack_deep_powers({where}, {weight.bits}u);", _deep_powers()
    else:
        gain, shift, _ = _line(weight, zeros, "group")
        call, needed = f"unpack_float({where}, {weight.bits}u, {gain}, {shift});", _bits("float")
        scale = f"0.5f * {scale}" if gain == 2 else scale
    lines = [
        f"for (part = 0; part < {parts}u; part++) {{",
        f"    const uint32_t group = channel * {parts}u + part;",
        f"    {call}",
        f"    scaled(row.values + part * {size}u, {size}u, {scale});",
        "}",
    ]
    return Row("float", 0, "\n        ".join(lines), "1.0f", (*functions, needed, _SCALED))


def _signs(layer: Layer, columns: int, at: Places) -> Row:
    if layer.wide:
        scales, exponent, width = f"biases + {at.scales}u", "0", "wide"
        needed = CFunction(_SIGNS.replace("WIDTH", width).replace("READ", "float_at(scales + plane * 4u)"), (FLOAT_AT,))
    else:
        scales, exponent, width = f"(const uint8_t *)(scales + {at.scales}u)", f"exponents[{2 * at.number}]", "half"
        needed = CFunction(_SIGNS.replace("WIDTH", width).replace("READ", "half_at(scales + plane * 2u)"), (HALF_AT,))
    text = f"unpack_signs_{width}(row.values, codes + {at.codes}u, {layer.channels}u, channel, {columns}u, {scales}, {exponent});"
    return Row("float", 0, text, "1.0f", (needed,))


def _scale(layer: Layer, at: Places, index: str) -> tuple[str, tuple[CFunction, ...]]:
    if layer.wide:
        return f"float_at(biases + {at.scales}u + {index} * 4u)", (FLOAT_AT,)
    return f"ldexpf(half(scales[{at.scales}u + {index}]), exponents[{2 * at.number}])", (HALF,)


def _short(kind: str) -> str:
    return kind.removesuffix("_t")


def _typed(text: str, kind: str) -> str:
    return text.replace("NAME", _short(kind)).replace("(W *", f"({kind} *").replace("(W)", f"({kind})")


def _bits(kind: str) -> CFunction:
    return CFunction(_typed(_BITS, kind))


def _trits(kind: str) -> CFunction:
    return CFunction(_typed(_TRITS, kind))


def _powers(kind: str) -> CFunction:
    return CFunction(_typed(_POWERS, kind), (_bits(kind),))


def _deep_powers() -> CFunction:
    return CFunction(_DEEP_POWERS, (_bits("float"),))
