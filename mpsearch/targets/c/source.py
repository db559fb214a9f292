"""`Source`: the text of a C program and the numbers in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpsearch.targets.c.lower import Lowered
from mpsearch.targets.c.memory import Arena, Life, arranged
from mpsearch.targets.c.steps import Call, CFunction
from mpsearch.targets.c.values import literal
from mpsearch.targets.c.walk import Program

__all__ = ["TYPES", "array_text", "body", "planned"]

TYPES = {
    "codes": ("uint8_t", "|u1"),
    "scales": ("uint16_t", "<u2"),
    "exponents": ("int8_t", "|i1"),
    "biases": ("uint8_t", "|u1"),
    "act_steps": ("float", "<f4"),
    "floats": ("float", "<f4"),
    "constants": ("float", "<f4"),
}
"""Array → C type and numpy dtype, in the order of the file."""

_WIDTH = 132
_ROW_BYTES = {"float": ("values", 4), "int8_t": ("bytes", 1), "int16_t": ("words", 2)}


def array_text(name: str, data: bytes | bytearray, *, storage: str = "static const") -> str:
    """The definition of an array; empty for no data, which C has no array for."""
    kind, dtype = TYPES.get(name, TYPES["floats"])
    numbers = np.frombuffer(bytes(data), dtype=dtype)
    if not numbers.size:
        return ""
    words = [literal(number) for number in numbers.tolist()] if kind == "float" else [str(number) for number in numbers.tolist()]
    return f"{storage} {kind} {name}[{numbers.size}] = {{\n{_wrapped(words)}\n}};\n"


def _wrapped(words: Sequence[str]) -> str:
    lines, line = list[str](), ""
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{word}," if not line else f" {word},"
    return "\n".join([*lines, line])


@dataclass(frozen=True)
class Plan:
    """Where the buffers of a program lie.

    Args:
        arena: offsets.
        places: C of each buffer's address.
        scratch: bytes of the unpacked row.
        copied: outputs that must be copied: C of the source, number of floats, first float of the output.
    """

    arena: Arena
    places: Mapping[int, str]
    scratch: int
    copied: tuple[tuple[str, int, int], ...]


def planned(program: Program, code: Lowered) -> Plan:
    """The memory plan of a program."""
    outputs = [code.renamed.get(number, number) for number in program.outputs]
    direct: dict[int, int] = {}
    copied: list[tuple[int, int, int]] = []
    first = 0
    for number in outputs:
        if number == 0 or number in direct:
            copied.append((number, program.elements[number], first))
        else:
            direct[number] = first
        first += program.elements[number]
    places = {0: "input"} | {number: f"(output + {start})" if start else "output" for number, start in direct.items()}
    lives = _lives(code, set(places))
    arena = arranged(lives)
    for number, offset in arena.offsets.items():
        cast = "" if code.kinds[number] == "float" else f"({code.kinds[number]} *)"
        places[number] = f"({cast}(arena + {offset // 4}))"
    scratch = max((count * _ROW_BYTES[kind][1] for kind, count in code.row.items()), default=0)
    widest = max((_ROW_BYTES[kind][1] for kind in code.row), default=1)
    return Plan(arena, places, -(-scratch // widest) * widest, tuple((places[n], count, start) for n, count, start in copied))


def _lives(code: Lowered, outside: set[int]) -> dict[int, Life]:
    born: dict[int, int] = {}
    last: dict[int, int] = {}
    over: dict[int, frozenset[int]] = {}
    for now, call in enumerate(code.calls):
        born[call.writes] = last[call.writes] = now
        for operand in call.reads:
            last[operand.buffer] = now
    for now, call in enumerate(code.calls):
        if call.in_place and call.writes not in outside:
            dying = {operand.buffer for operand in call.reads if operand.buffer in born and operand.buffer not in outside}
            over[call.writes] = frozenset(n for n in dying if last[n] == now and code.bytes[n] >= code.bytes[call.writes])
    return {
        number: Life(code.bytes[number], start, last[number], over.get(number, frozenset()))
        for number, start in born.items()
        if number not in outside
    }


def body(program: Program, code: Lowered, plan: Plan, sizes: tuple[int, int, int], arrays: str) -> str:
    """Everything behind the comment of the file.

    Args:
        program: of the network.
        code: its calls.
        plan: where its buffers lie.
        sizes: floats of the input, floats of the output, bytes of constant data.
        arrays: definitions of the constant data.
    """
    text = "\n".join(_calls(code, plan))
    parts = [
        "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n",
        macros(sizes, plan),
        "void model_run(const float *input, float *output);\n",
        arrays,
        _memory(code, plan),
        "".join(_definitions(code.calls)),
        "/* `input` and `output` must not overlap. */\nvoid model_run(const float *input, float *output)\n{\n",
    ]
    if "channel" in text:
        parts.append("    uint32_t channel;\n")
    if "part <" in text:
        parts.append("    uint32_t part;\n")
    unused = [name for name in TYPES if f" {name}[" in arrays and f"{name}[" not in text and f"{name} +" not in text]
    parts += [f"    (void){name};\n" for name in unused]
    return "".join([*parts, text, "\n}\n"])


def macros(sizes: tuple[int, int, int], plan: Plan) -> str:
    """What a program that includes the network may ask at compile time."""
    inputs, outputs, flash = sizes
    return (
        f"\n#define MODEL_INPUT {inputs} /* floats */\n#define MODEL_OUTPUT {outputs} /* floats */\n"
        f"#define MODEL_FLASH {flash} /* bytes of constant data */\n"
        f"#define MODEL_ARENA {plan.arena.bytes} /* bytes of activations */\n"
        f"#define MODEL_RAM {plan.arena.bytes + plan.scratch} /* bytes of activations and of one unpacked row of weights */\n\n"
    )


def _memory(code: Lowered, plan: Plan) -> str:
    text = "\n"
    if plan.arena.bytes:
        text += f"static float arena[{plan.arena.bytes // 4}];\n"
    if code.row:
        fields = " ".join(f"{kind} {_ROW_BYTES[kind][0]}[{count}];" for kind, count in sorted(code.row.items()))
        text += f"static union {{ {fields} }} row;\n"
    return text


def _definitions(calls: Sequence[Call]) -> Iterator[str]:
    """Each function once, behind those that it calls."""
    seen: set[str] = set()

    def needed(function: CFunction) -> Iterator[str]:
        if function.text not in seen:
            seen.add(function.text)
            for other in function.needs:
                yield from needed(other)
            yield function.text

    for call in calls:
        for function in call.functions:
            yield from needed(function)


def _calls(code: Lowered, plan: Plan) -> Iterator[str]:
    for call in code.calls:
        text = call.text.replace("{y}", plan.places[call.writes])
        for number, operand in enumerate(call.reads):
            text = text.replace(f"{{{number}}}", operand.text or plan.places[operand.buffer])
        yield f"    /* {call.note} */\n    {text}"
    for source, count, first in plan.copied:
        yield f"    memcpy(output + {first}, {source}, {count} * sizeof(float));"
