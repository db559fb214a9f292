"""`lowered`: a program and its numbers → plain calls: codes instead of floats, integer arithmetic where inputs are quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpsearch.core.layer import Layer
from mpsearch.network.baked import BakedLayer, QuantizedInput
from mpsearch.numbers.grid import act_grid
from mpsearch.targets.c.rows import FLOAT_AT, HALF_AT, Places, row_of
from mpsearch.targets.c.steps import Call, CFunction, Multiply, Operand, Quantize
from mpsearch.targets.c.walk import Program
from mpsearch.targets.packed import layout

__all__ = ["Lowered", "lowered"]

_LARGEST = 2**31 - 1

_QUANTIZE = """
/* Codes of inputs: rounded half to even and clamped. */
static void quantize_NAME(X *y, const float *x, int n, float step, float low, float high)
{
    const float inverse = 1.0f / step;
    int i;
    for (i = 0; i < n; i++) {
        const float code = rintf(x[i] * inverse);
        y[i] = (X)(code < low ? low : code > high ? high : code);
    }
}
"""

_QUANTIZE_PACKED = CFunction("""
/* The same with `bits` a code. */
static void quantize_packed(uint8_t *y, const float *x, int n, float step, float low, float high, unsigned bits)
{
    const float inverse = 1.0f / step;
    unsigned word = 0, used = 0;
    int i;
    for (i = 0; i < n; i++) {
        const float rounded = rintf(x[i] * inverse);
        const int code = (int)(rounded < low ? low : rounded > high ? high : rounded);
        word |= ((unsigned)code & ((1u << bits) - 1u)) << used;
        for (used += bits; used >= 8u; used -= 8u, word >>= 8)
            *y++ = (uint8_t)(word & 255u);
    }
    if (used > 0u)
        *y = (uint8_t)word;
}
""")

_ROUND = CFunction("""
/* The same as floats. */
static void round_to_codes(float *y, const float *x, int n, float step, float low, float high)
{
    const float inverse = 1.0f / step;
    int i;
    for (i = 0; i < n; i++) {
        const float code = rintf(x[i] * inverse);
        y[i] = (code < low ? low : code > high ? high : code) * step;
    }
}
""")

_CODE = """
static int NAME(const uint8_t *codes, int32_t i)
{
    const uint32_t at = (uint32_t)i * BITSu;
    const unsigned word = WORD;
    return (int)((word >> (at & 7u)) & MASKu)SIGN;
}
"""


@dataclass(frozen=True)
class Lowered:
    """Plain calls.

    Args:
        calls: in order; some only rename buffers and are left out.
        bytes: of each buffer.
        kinds: C type of each buffer's elements.
        renamed: buffer → the buffer that it is.
        row: elements of the row buffer by C type.
    """

    calls: tuple[Call, ...]
    bytes: tuple[int, ...]
    kinds: tuple[str, ...]
    renamed: Mapping[int, int]
    row: Mapping[str, int]


def lowered(program: Program, layers: Sequence[Layer], baked: Sequence[BakedLayer]) -> Lowered:
    """The calls for the numbers of an allocation.

    Args:
        program: of the network.
        layers: as traced.
        baked: of each layer.
    """
    places = _places(layers, baked)
    calls: list[Call] = []
    kinds, sizes = ["float"] * len(program.elements), [4 * count for count in program.elements]
    coded: dict[int, QuantizedInput] = {}
    renamed: dict[int, int] = {}
    row: dict[str, int] = {}
    for step in program.steps:
        if isinstance(step, Call):
            reads = tuple(Operand(renamed.get(operand.buffer, operand.buffer), operand.text) for operand in step.reads)
            calls.append(Call(step.text, reads, step.writes, step.functions, step.in_place, step.note))
        elif isinstance(step, Quantize):
            levels, source = baked[step.layer].input, renamed.get(step.reads, step.reads)
            if levels is None:
                renamed[step.writes] = source
                continue
            calls.append(_quantized(step, source, levels, places[step.layer]))
            if step.for_layer:
                coded[step.writes] = levels
                sizes[step.writes] = -(-step.elements * levels.format.bits // 8)
                kinds[step.writes] = "int8_t" if levels.signed and levels.format.bits == 8 else "uint8_t"
        else:
            source = renamed.get(step.reads, step.reads)
            call, kind = _multiplied(step, source, layers[step.layer], baked[step.layer], places[step.layer], coded.get(source))
            row[kind] = max(row.get(kind, 0), step.columns)
            calls.append(call)
    return Lowered(tuple(calls), tuple(sizes), tuple(kinds), renamed, row)


def _places(layers: Sequence[Layer], baked: Sequence[BakedLayer]) -> list[Places]:
    places, codes, scales, biases, steps = list[Places](), 0, 0, 0, 0
    for number, (layer, numbers) in enumerate(zip(layers, baked, strict=True)):
        own = layout.scale_bytes(layer, numbers.weight_format)
        bias = biases + (own if layer.wide else 0)
        places.append(Places(number, codes, biases if layer.wide else scales, bias, steps))
        codes += layout.weight_bytes(layer, numbers.weight_format)
        scales += 0 if layer.wide else own // 2
        biases = bias + layout.bias_bytes(layer)
        steps += numbers.input is not None
    return places


def _quantized(step: Quantize, source: int, levels: QuantizedInput, at: Places) -> Call:
    grid, bits = act_grid(levels.format.bits, levels.signed), levels.format.bits
    arguments = f"{{y}}, {{0}}, {step.elements}, act_steps[{at.step}], {grid.lo}.0f, {grid.hi}.0f"
    if not step.for_layer:
        text, function = f"round_to_codes({arguments});", _ROUND
    elif bits < 8:
        text, function = f"quantize_packed({arguments}, {bits}u);", _QUANTIZE_PACKED
    else:
        kind = "int8_t" if levels.signed else "uint8_t"
        text, function = f"quantize_{kind[:-2]}({arguments});", CFunction(_QUANTIZE.replace("NAME", kind[:-2]).replace("X", kind))
    return Call(text, (Operand(source),), step.writes, (function,), in_place=True, note=f"{bits}-bit codes")


def _multiplied(
    step: Multiply, source: int, layer: Layer, numbers: BakedLayer, at: Places, levels: QuantizedInput | None
) -> tuple[Call, str]:
    row = row_of(layer, numbers.weight_format, step.columns, at)
    reader, largest, needed = _reader(levels)
    exact = row.largest * largest * step.columns if levels is not None and row.largest else 0
    total = "float" if not exact else "int32_t" if exact <= _LARGEST else "int64_t"
    base = "plane" if "height" in step.template else "column"
    base = "transposed" if "far_y" in step.template else base
    name = f"{base}_{_word(levels)}_{row.kind.removesuffix('_t')}" + ("_wide" if total == "int64_t" else "")
    text = step.template.replace("NAME", name).replace("const X *", f"const {_type(levels)} *").replace("const W *", f"const {row.kind} *")
    function = CFunction(text.replace("SUM", total).replace("AT(", reader), needed)
    scale = row.scale if levels is None else f"act_steps[{at.step}]" if row.scale == "1.0f" else f"act_steps[{at.step}] * ({row.scale})"
    bias, reads_bias = _bias(layer, numbers, at) if step.biased else ("0.0f", ())
    place = {"float": "row.values", "int8_t": "row.bytes", "int16_t": "row.words"}[row.kind]
    filled = {"{function}": name, "{row}": place, "{scale}": scale, "{bias}": bias, "{x}": "{0}"}
    call = step.text
    for key, value in filled.items():
        call = call.replace(key, value)
    lines = [f"for (channel = 0; channel < {step.channels}u; channel++) {{", f"    {row.text}", f"    {call}", "}"]
    functions = (*row.functions, *reads_bias, function)
    spelled = "float" if numbers.weight_format.is_float else f"{numbers.weight_format}"
    note = f"{layer.name}: weights {spelled}, inputs {'float' if levels is None else levels.format}".replace("*/", "* /")
    return Call("\n    ".join(lines), (Operand(source),), step.writes, functions, note=note), row.kind


def _bias(layer: Layer, numbers: BakedLayer, at: Places) -> tuple[str, tuple[CFunction, ...]]:
    if layer.norm and not layer.wide:
        return f"ldexpf(half_at(biases + {at.bias}u + channel * 2u), exponents[{2 * at.number + 1}])", (HALF_AT,)
    return f"float_at(biases + {at.bias}u + channel * 4u)", (FLOAT_AT,)


def _reader(levels: QuantizedInput | None) -> tuple[str, int, tuple[CFunction, ...]]:
    """C before the index of an input, and before a closing bracket; the largest magnitude; functions."""
    if levels is None:
        return "at_float(x, ", 0, (_AT_FLOAT,)
    bits, grid = levels.format.bits, act_grid(levels.format.bits, levels.signed)
    largest = max(abs(int(grid.lo)), int(grid.hi))
    if bits == 8:
        kind = _type(levels)
        text = f"\nstatic int at_{kind[:-2]}(const {kind} *x, int32_t i)\n{{\n    return x[i];\n}}\n"
        return f"at_{kind[:-2]}(x, ", largest, (CFunction(text),)
    name = f"at_{_word(levels)}"
    crossing = f"(at & 7u) + {bits}u > 8u ? codes[at >> 3] | (unsigned)codes[(at >> 3) + 1u] << 8 : codes[at >> 3]"
    text = _CODE.replace("NAME", name).replace("BITS", str(bits)).replace("WORD", "codes[at >> 3]" if 8 % bits == 0 else crossing)
    text = text.replace("MASK", str(2**bits - 1))
    top = 2 ** (bits - 1)
    if levels.signed:
        text = text.replace("(int)((word", "((int)(((word").replace(f"{2**bits - 1}u)SIGN", f"{2**bits - 1}u) ^ {top}u)) - {top}")
    return f"{name}(x, ", largest, (CFunction(text.replace("SIGN", "")),)


_AT_FLOAT = CFunction("""
static float at_float(const float *x, int32_t i)
{
    return x[i];
}
""")


def _type(levels: QuantizedInput | None) -> str:
    if levels is None:
        return "float"
    return "int8_t" if levels.signed and levels.format.bits == 8 else "uint8_t"


def _word(levels: QuantizedInput | None) -> str:
    """Such as `s4`."""
    return "f" if levels is None else f"{'s' if levels.signed else 'u'}{levels.format.bits}"
