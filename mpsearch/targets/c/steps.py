"""Steps of a C program: calls of C functions that read buffers and write one, and multiplications whose code the numbers decide."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CFunction", "Call", "Multiply", "Operand", "Quantize", "Step"]


@dataclass(frozen=True)
class CFunction:
    """A static C function.

    Args:
        text: its definition.
        needs: functions that it calls.
    """

    text: str
    needs: tuple[CFunction, ...] = ()


@dataclass(frozen=True)
class Operand:
    """Where a function reads: a buffer, or an address in the constant data.

    Args:
        buffer: its number, or −1.
        text: the address, if it is no buffer.
    """

    buffer: int
    text: str = ""


@dataclass(frozen=True)
class Call:
    """A piece of C.

    Args:
        text: in which `{y}` is the address that is written and `{0}`, `{1}` … are those of the operands.
        reads: operands.
        writes: number of the buffer.
        functions: that the text calls.
        in_place: whether `{y}` may be the address of an operand that is not read later; element i is written after all reads of element i.
        note: a comment.
    """

    text: str
    reads: tuple[Operand, ...]
    writes: int
    functions: tuple[CFunction, ...] = ()
    in_place: bool = False
    note: str = ""


@dataclass(frozen=True)
class Quantize:
    """The input of a layer passes through its quantizer.

    Args:
        layer: number of the layer.
        reads: buffer of the input.
        writes: buffer of the quantized input.
        elements: of it.
        for_layer: whether nothing but multiplications by the layer's weight reads it, so that it may be held as codes.
    """

    layer: int
    reads: int
    writes: int
    elements: int
    for_layer: bool = True


@dataclass(frozen=True)
class Multiply:
    """A layer's weight is applied to a buffer.

    Args:
        layer: number of the layer.
        reads: buffer of the input.
        writes: buffer of the output.
        channels: output channels; the weight has one row for each.
        columns: weights of a channel.
        text: C for one channel, see `mpsearch.targets.c.lower`.
        template: of the C function that it calls.
        biased: whether the layer's bias is added.
    """

    layer: int
    reads: int
    writes: int
    channels: int
    columns: int
    text: str
    template: str
    biased: bool


Step = Call | Quantize | Multiply
