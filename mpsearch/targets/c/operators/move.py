"""Operators that move numbers and compute nothing: Transpose, Concat, Slice, Split, Gather, Pad, Expand; and views, which cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpsearch.targets.c.steps import CFunction
from mpsearch.targets.c.strides import broadcast, contiguous, merged, strides_for
from mpsearch.targets.c.values import Bias, Buffer, State, Value, Weight, elements, literal
from mpsearch.targets.c.walk import Node, Operator, Walk

__all__ = ["MOVES", "moved"]

_MOVE = CFunction("""
/* Copy numbers that lie evenly along five axes. */
static void move(float *y, const float *x, int n0, int n1, int n2, int n3, int n4, int y0, int y1, int y2, int y3, int y4,
    int x0, int x1, int x2, int x3, int x4)
{
    int a, b, c, d, e;
    for (a = 0; a < n0; a++)
        for (b = 0; b < n1; b++)
            for (c = 0; c < n2; c++)
                for (d = 0; d < n3; d++)
                    for (e = 0; e < n4; e++)
                        y[a * y0 + b * y1 + c * y2 + d * y3 + e * y4] = x[a * x0 + b * x1 + c * x2 + d * x3 + e * x4];
}
""")

_FILL = CFunction("""
static void fill(float *y, int n, float value)
{
    int i;
    for (i = 0; i < n; i++)
        y[i] = value;
}
""")

_AXES = 5


def moved(walk: Walk, node: Node, x: Value, order: Sequence[int]) -> Buffer:
    """The tensor with its axes in another order."""
    steps = contiguous(x.shape)
    shape = tuple(x.shape[axis] for axis in order)
    return _copied(walk, node, x, shape, [steps[axis] for axis in order])


def _copied(walk: Walk, node: Node, x: Value, shape: Sequence[int], steps: Sequence[int], first: int = 0) -> Buffer:
    return walk.call(node, shape, _move(node, "{0}", shape, contiguous(shape), steps, 0, first), [x], [_MOVE])


def _move(node: Node, x: str, shape: Sequence[int], steps_y: Sequence[int], steps_x: Sequence[int], first_y: int, first_x: int) -> str:
    """One call: element [i …] of x, from its element `first_x` on, goes to the same place of y, from its element `first_y` on."""
    sizes, (own_y, own_x) = merged(shape, [steps_y, steps_x])
    if len(sizes) > _AXES:
        raise node.refused(f"it moves numbers along more than {_AXES} axes")
    missing = _AXES - len(sizes)
    numbers = [*[1] * missing, *sizes, *[0] * missing, *own_y, *[0] * missing, *own_x]
    return f"move({_from('{y}', first_y)}, {_from(x, first_x)}, {', '.join(map(str, numbers))});"


def _from(address: str, first: int) -> str:
    return f"{address} + {first}" if first else address


def _viewed(walk: Walk, node: Node, value: Value | None, shape: Sequence[int]) -> Value:
    if isinstance(value, Buffer | State):
        return replace(value, shape=tuple(int(size) for size in shape))
    if isinstance(value, Weight | Bias):
        return replace(value, shape=tuple(int(size) for size in shape))
    raise node.refused("an input is missing")


def _input(node: Node) -> Value:
    value = node.inputs[0]
    if value is None:
        raise node.refused("an input is missing")
    return value


def _identity(walk: Walk, node: Node) -> Value:
    return _input(node)


def _reshape(walk: Walk, node: Node) -> Value:
    x, wanted = _input(node), node.known(1, "shape")
    zero_is_zero = bool(node.attribute("allowzero", 0))
    shape = [x.shape[axis] if size == 0 and not zero_is_zero else int(size) for axis, size in enumerate(wanted)]
    if -1 in shape:
        shape[shape.index(-1)] = elements(x.shape) // -elements(tuple(shape))
    if elements(tuple(shape)) != elements(x.shape):
        raise node.refused(f"it makes {list(wanted)} of {list(x.shape)}, one sample, which has other elements")
    return _viewed(walk, node, x, shape)


def _flatten(walk: Walk, node: Node) -> Value:
    x = _input(node)
    axis = int(node.attribute("axis", 1)) % (len(x.shape) + 1)
    return _viewed(walk, node, x, (elements(x.shape[:axis]), elements(x.shape[axis:])))


def _squeeze(walk: Walk, node: Node) -> Value:
    x, axes = _input(node), node.known(1, "axes")
    dropped = {int(axis) % len(x.shape) for axis in axes.reshape(-1)} if axes is not None else {a for a, n in enumerate(x.shape) if n == 1}
    return _viewed(walk, node, x, [size for axis, size in enumerate(x.shape) if axis not in dropped])


def _unsqueeze(walk: Walk, node: Node) -> Value:
    x, axes = _input(node), node.known(1, "axes").reshape(-1)
    rank = len(x.shape) + len(axes)
    new, rest = {int(axis) % rank for axis in axes}, iter(x.shape)
    return _viewed(walk, node, x, [1 if axis in new else next(rest) for axis in range(rank)])


def _transpose(walk: Walk, node: Node) -> Value:
    x = _input(node)
    order = list(node.attribute("perm", list(reversed(range(len(x.shape))))))
    if isinstance(x, Weight):
        if order != [1, 0]:
            raise node.refused(f"it transposes the weight of layer '{walk.layers[x.layer].name}'")
        return Weight(x.layer, x.shape[::-1], not x.transposed)
    wide = [axis for axis in order if x.shape[axis] > 1]
    if wide == sorted(wide):
        return _viewed(walk, node, x, [x.shape[axis] for axis in order])
    return moved(walk, node, x, order)


def _concat(walk: Walk, node: Node) -> Value:
    parts = [value for value in node.inputs if value is not None]
    axis = int(node.attribute("axis", 0)) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    steps, calls, first = contiguous(shape), [], 0
    for number, part in enumerate(parts):
        calls.append(_move(node, f"{{{number}}}", part.shape, steps, contiguous(part.shape), first * steps[axis], 0))
        first += part.shape[axis]
    return walk.call(node, shape, "\n    ".join(calls), parts, [_MOVE])


def _slice(walk: Walk, node: Node) -> Value:
    x = _input(node)
    starts, ends = node.known(1, "starts").reshape(-1), node.known(2, "ends").reshape(-1)
    axes, strides = node.known(3, "axes", range(len(starts))).reshape(-1), node.known(4, "steps", [1] * len(starts)).reshape(-1)
    shape, steps, first = list(x.shape), contiguous(x.shape), 0
    for start, end, axis, stride in zip(starts.tolist(), ends.tolist(), axes.tolist(), strides.tolist(), strict=True):
        taken = range(x.shape[axis])[slice(start, end if end > -(2**62) else None, stride)]
        shape[axis], first = len(taken), first + (taken.start * contiguous(x.shape)[axis] if len(taken) else 0)
        steps[axis] *= taken.step
    if 0 in shape:
        raise node.refused("it takes nothing")
    return x if tuple(shape) == x.shape and first == 0 else _copied(walk, node, x, shape, steps, first)


def _split(walk: Walk, node: Node) -> list[Value]:
    x = _input(node)
    axis, given = int(node.attribute("axis", 0)) % len(x.shape), node.known(1, "split")
    if given is None:
        count = int(node.attribute("num_outputs", 1))
        size = -(-x.shape[axis] // count)
        given = np.array([min(size, x.shape[axis] - size * number) for number in range(count)])
    steps, first, made = contiguous(x.shape), 0, list[Value]()
    for size in given.reshape(-1).tolist():
        made.append(_copied(walk, node, x, [size if a == axis else n for a, n in enumerate(x.shape)], steps, first * steps[axis]))
        first += size
    return made


def _gather(walk: Walk, node: Node) -> Value:
    x, indices = _input(node), node.known(1, "indices")
    axis = int(node.attribute("axis", 0)) % len(x.shape)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    wide = (*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
    one, steps, own = [1 if a == axis else n for a, n in enumerate(x.shape)], contiguous(wide), contiguous(x.shape)
    calls = [
        _move(node, "{0}", one, steps, own, number * steps[axis], int(index) % x.shape[axis] * own[axis])
        for number, index in enumerate(indices.reshape(-1))
    ]
    return walk.call(node, shape, "\n    ".join(calls), [x], [_MOVE])


def _expand(walk: Walk, node: Node) -> Value:
    x = _input(node)
    shape = broadcast(node, x.shape, tuple(int(size) for size in node.known(1, "shape")))
    return (
        _viewed(walk, node, x, shape)
        if elements(shape) == elements(x.shape)
        else _copied(walk, node, x, shape, strides_for(x.shape, shape))
    )


def _pad(walk: Walk, node: Node) -> Value:
    x, pads, value = _input(node), node.known(1, "pads").reshape(-1), node.known(2, "value")
    rank = len(x.shape)
    axes = [int(axis) % rank for axis in node.known(3, "axes", range(rank)).reshape(-1)]
    if node.attribute("mode", "constant") != "constant" or (pads < 0).any():
        raise node.refused("it pads by something else than a constant, or cuts")
    before, after = dict(zip(axes, pads[: len(axes)].tolist(), strict=True)), dict(zip(axes, pads[len(axes) :].tolist(), strict=True))
    shape = [size + before.get(axis, 0) + after.get(axis, 0) for axis, size in enumerate(x.shape)]
    steps = contiguous(shape)
    first = sum(before.get(axis, 0) * steps[axis] for axis in range(rank))
    filled = f"fill({{y}}, {elements(tuple(shape))}, {literal(0.0 if value is None else float(value.reshape(-1)[0]))});"
    copied = _move(node, "{0}", x.shape, steps, contiguous(x.shape), first, 0)
    return walk.call(node, shape, f"{filled}\n    {copied}", [x], [_FILL, _MOVE])


def _cast(walk: Walk, node: Node) -> Value:
    if node.attribute("to", 1) != 1:
        raise node.refused("it makes something else than float32")
    return _input(node)


MOVES: Mapping[str, Operator] = {
    "Identity": _identity,
    "Dropout": _identity,
    "Cast": _cast,
    "CastLike": _identity,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Expand": _expand,
    "Pad": _pad,
}
"""Operators that only move numbers, by name."""
