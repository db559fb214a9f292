"""Operators along an axis: reductions, global poolings, Softmax and the normalisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpsearch.targets.c.operators.move import moved
from mpsearch.targets.c.steps import CFunction
from mpsearch.targets.c.values import Buffer, Value, elements, literal
from mpsearch.targets.c.walk import Node, Operator, Walk

__all__ = ["ALONG", "batch_normalization", "layer_normalization"]

_REDUCE = """
static void NAME(float *y, const float *x, int outer, int n, int inner)
{
    int i, j, k;
    for (i = 0; i < outer; i++, x += n * inner)
        for (k = 0; k < inner; k++) {
            float sum = FIRST;
            for (j = 0; j < n; j++) {
                const float v = x[j * inner + k];
                sum = EXPRESSION;
            }
            *y++ = RESULT;
        }
}
"""

_SOFTMAX = """
static void NAME(float *y, const float *x, int outer, int n, int inner)
{
    int i, j, k;
    for (i = 0; i < outer; i++, x += n * inner, y += n * inner)
        for (k = 0; k < inner; k++) {
            float most = x[k], sum = 0.0f;
            for (j = 1; j < n; j++)
                most = x[j * inner + k] > most ? x[j * inner + k] : most;
            for (j = 0; j < n; j++)
                sum += expf(x[j * inner + k] - most);
            for (j = 0; j < n; j++)
                y[j * inner + k] = RESULT;
        }
}
"""

_BATCH_NORM = CFunction("""
static void batch_norm(float *y, const float *x, const float *gain, const float *shift, const float *mean, const float *variance,
    int channels, int inner, float epsilon)
{
    int c, i;
    for (c = 0; c < channels; c++, x += inner, y += inner) {
        const float scale = gain[c] / sqrtf(variance[c] + epsilon);
        for (i = 0; i < inner; i++)
            y[i] = (x[i] - mean[c]) * scale + shift[c];
    }
}
""")

_LAYER_NORM = CFunction("""
static void layer_norm(float *y, const float *x, const float *gain, const float *shift, int rows, int n, float epsilon)
{
    int row, i;
    for (row = 0; row < rows; row++, x += n, y += n) {
        float mean = 0.0f, variance = 0.0f, scale;
        for (i = 0; i < n; i++)
            mean += x[i];
        mean /= (float)n;
        for (i = 0; i < n; i++)
            variance += (x[i] - mean) * (x[i] - mean);
        scale = 1.0f / sqrtf(variance / (float)n + epsilon);
        for (i = 0; i < n; i++)
            y[i] = (x[i] - mean) * scale * gain[i] + shift[i];
    }
}
""")


def _reduction(first: str, expression: str, result: str, *, spatial: bool = False) -> Operator:
    """A reduction over axes; `spatial`: over all behind the channels."""

    def operator(walk: Walk, node: Node) -> Value:
        x = node.inputs[0]
        if x is None:
            raise node.refused("an input is missing")
        rank = len(x.shape)
        given = None if spatial else node.known(1, "axes")
        if spatial:
            axes, keep = list(range(2, rank)), True
        else:
            if given is None and node.attribute("noop_with_empty_axes", 0):
                return x
            axes = sorted(int(axis) % rank for axis in (range(rank) if given is None else given.reshape(-1)))
            keep = bool(node.attribute("keepdims", 1))
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        reduced = [axis for axis in axes if x.shape[axis] > 1]
        others = [axis for axis in range(rank) if axis not in axes]
        if reduced and any(x.shape[axis] > 1 for axis in others if reduced[0] < axis < reduced[-1]):  # others lie between them
            x = moved(walk, node, x, [*others, *axes])
            outer, n, inner = elements(x.shape[: len(others)]), elements(x.shape[len(others) :]), 1
        else:
            low, high = (reduced[0], reduced[-1] + 1) if reduced else (rank, rank)
            outer, n, inner = elements(x.shape[:low]), elements(x.shape[low:high]), elements(x.shape[high:])
        name = f"along_{node.operator.lower()}"
        text = _REDUCE.replace("NAME", name).replace("FIRST", first).replace("EXPRESSION", expression).replace("RESULT", result)
        shape = shape if keep else [size for axis, size in enumerate(shape) if axis not in axes]
        return walk.call(node, shape, f"{name}({{y}}, {{0}}, {outer}, {n}, {inner});", [x], [CFunction(text)])

    return operator


def _softmax(result: str) -> Operator:
    def operator(walk: Walk, node: Node) -> Value:
        x = node.inputs[0]
        if x is None:
            raise node.refused("an input is missing")
        axis = int(node.attribute("axis", -1)) % len(x.shape)
        name = f"along_{node.operator.lower()}"
        text = _SOFTMAX.replace("NAME", name).replace("RESULT", result)
        call = f"{name}({{y}}, {{0}}, {elements(x.shape[:axis])}, {x.shape[axis]}, {elements(x.shape[axis + 1 :])});"
        return walk.call(node, x.shape, call, [x], [CFunction(text)], in_place=True)

    return operator


def batch_normalization(walk: Walk, node: Node) -> Value:
    """A BatchNorm that no layer could take in."""
    x = node.inputs[0]
    if not isinstance(x, Buffer) or x.shape[0] != 1 or node.attribute("training_mode", 0):
        raise node.refused("it normalises by the statistics of the batch")
    epsilon = literal(float(node.attribute("epsilon", 1e-5)))
    call = f"batch_norm({{y}}, {{0}}, {{1}}, {{2}}, {{3}}, {{4}}, {x.shape[1]}, {elements(x.shape[2:])}, {epsilon});"
    return walk.call(node, x.shape, call, node.inputs[:5], [_BATCH_NORM], in_place=True)


def layer_normalization(walk: Walk, node: Node) -> Value:
    """A LayerNorm over the last axes."""
    x, gain, shift = (*node.inputs, None)[:3]
    if x is None or gain is None or shift is None:
        raise node.refused("it has no gain or no shift")
    axis = int(node.attribute("axis", -1)) % len(x.shape)
    epsilon = literal(float(node.attribute("epsilon", 1e-5)))
    call = f"layer_norm({{y}}, {{0}}, {{1}}, {{2}}, {elements(x.shape[:axis])}, {elements(x.shape[axis:])}, {epsilon});"
    return walk.call(node, x.shape, call, [x, gain, shift], [_LAYER_NORM], in_place=True)


def _all(names: Sequence[str], operator: Operator) -> dict[str, Operator]:
    return dict.fromkeys(names, operator)


ALONG: Mapping[str, Operator] = {
    "ReduceMean": _reduction("0.0f", "sum + v", "sum / (float)n"),
    "ReduceSum": _reduction("0.0f", "sum + v", "sum"),
    "ReduceSumSquare": _reduction("0.0f", "sum + v * v", "sum"),
    "ReduceL2": _reduction("0.0f", "sum + v * v", "sqrtf(sum)"),
    "ReduceMax": _reduction("-INFINITY", "v > sum ? v : sum", "sum"),
    "ReduceMin": _reduction("INFINITY", "v < sum ? v : sum", "sum"),
    "GlobalAveragePool": _reduction("0.0f", "sum + v", "sum / (float)n", spatial=True),
    "GlobalMaxPool": _reduction("-INFINITY", "v > sum ? v : sum", "sum", spatial=True),
    "Softmax": _softmax("expf(x[j * inner + k] - most) / sum"),
    "LogSoftmax": _softmax("x[j * inner + k] - most - logf(sum)"),
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
}
"""Operators along axes, by name."""
