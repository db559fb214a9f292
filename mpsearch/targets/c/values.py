"""What the tensors of a skeleton are to a C program: buffers, numbers known beforehand, numbers of a file, weights and biases of layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Bias", "Buffer", "Known", "State", "Value", "Weight", "elements", "literal"]


@dataclass(frozen=True)
class Buffer:
    """A float32 tensor computed by the program, contiguous; a view has its source's number.

    Args:
        number: of the buffer.
        shape: of one sample, with its first axis of 1.
    """

    number: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """Numbers that are part of the architecture.

    Args:
        array: of any dtype.
    """

    array: np.ndarray[Any, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.array.shape)


@dataclass(frozen=True)
class State:
    """A float32 tensor that stays float and belongs to no layer.

    Args:
        offset: in the array `floats`.
        shape: of the tensor, or of a view of it.
    """

    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """The weight of a layer, which only multiplications read.

    Args:
        layer: its number.
        shape: as the graph sees it.
        transposed: whether its two axes are swapped.
    """

    layer: int
    shape: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Bias:
    """The bias of a layer, added by the layer's own multiplication."""

    layer: int
    shape: tuple[int, ...]


Value = Buffer | Known | State | Weight | Bias


def elements(shape: tuple[int, ...]) -> int:
    """Number of elements."""
    return math.prod(shape)


def literal(number: float) -> str:
    """A float32 as C writes it; nine digits give the same float32 back."""
    number = float(np.float32(number))
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = f"{number:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
