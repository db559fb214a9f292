"""Strides of broadcast, transposed and sliced tensors, with as few axes as they need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpsearch.targets.c.walk import Node

__all__ = ["broadcast", "contiguous", "merged", "strides_for"]


def broadcast(node: Node, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of two tensors that are broadcast against each other.

    Raises:
        ModelError: they do not fit.
    """
    try:
        return tuple(int(size) for size in np.broadcast_shapes(a, b))
    except ValueError:
        raise node.refused(f"its inputs {list(a)} and {list(b)} do not fit each other") from None


def contiguous(shape: Sequence[int]) -> list[int]:
    """Distances between neighbours along each axis."""
    steps, step = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        steps[axis] = step
        step *= shape[axis]
    return steps


def strides_for(shape: Sequence[int], wider: Sequence[int]) -> list[int]:
    """Distances in a contiguous tensor that is broadcast to a wider shape: 0 along the axes that are repeated."""
    missing = len(wider) - len(shape)
    own = contiguous(shape)
    return [0] * missing + [0 if size == 1 else step for size, step in zip(shape, own, strict=True)]


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The same elements with neighbouring axes joined where every tensor steps through them evenly; axes of 1 vanish."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        own = [each[axis] for each in strides]
        if sizes and all(before[-1] == step * size for before, step in zip(steps, own, strict=True)):
            sizes[-1] *= size
            for before, step in zip(steps, own, strict=True):
                before[-1] = step
        else:
            sizes.append(size)
            for before, step in zip(steps, own, strict=True):
                before.append(step)
    return sizes, steps
