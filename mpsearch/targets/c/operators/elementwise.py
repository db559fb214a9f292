"""Operators that compute each element by itself: activation functions, and arithmetic of two tensors that broadcast against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpsearch.targets.c.operators.multiply import add_bias
from mpsearch.targets.c.steps import Call, CFunction, Operand
from mpsearch.targets.c.strides import broadcast, merged, strides_for
from mpsearch.targets.c.values import Bias, Buffer, Value, elements, literal
from mpsearch.targets.c.walk import Node, Operator, Walk

__all__ = ["BINARY", "UNARY", "clip", "gelu", "where"]

_ONE = """
static void NAME(float *y, const float *x, int n PARAMETERS)
{
    int i;
    for (i = 0; i < n; i++) {
        const float v = x[i];
        y[i] = EXPRESSION;
    }
}
"""

_TWO = """
static void NAME(float *y, const float *a, const float *b, int n, int step_a, int step_b)
{
    int i;
    for (i = 0; i < n; i++) {
        const float p = a[i * step_a], q = b[i * step_b];
        y[i] = EXPRESSION;
    }
}
"""

_TWO_BROADCAST = """
static void NAME_broadcast(float *y, const float *a, const float *b, int n0, int n1, int n2, int n3,
    int a0, int a1, int a2, int a3, int b0, int b1, int b2, int b3)
{
    int i, j, k;
    for (i = 0; i < n0; i++)
        for (j = 0; j < n1; j++)
            for (k = 0; k < n2; k++, y += n3)
                NAME(y, a + i * a0 + j * a1 + k * a2, b + i * b0 + j * b1 + k * b2, n3, a3, b3);
}
"""

_WHERE = CFunction("""
static void where(float *y, const float *condition, const float *a, const float *b, int n, int step_a, int step_b)
{
    int i;
    for (i = 0; i < n; i++)
        y[i] = condition[i] > 0.0f ? a[i * step_a] : b[i * step_b];
}
""")

_AXES = 4


def _unary(expression: str, *attributes: tuple[str, float]) -> Operator:
    """An operator of one input; attributes are parameters of the function, with their defaults."""

    def operator(walk: Walk, node: Node) -> Value:
        return _one(walk, node, expression, {name: float(node.attribute(name, default)) for name, default in attributes})

    return operator


def _one(walk: Walk, node: Node, expression: str, given: Mapping[str, float], kind: str = "") -> Value:
    x = node.inputs[0]
    if x is None:
        raise node.refused("an input is missing")
    name = f"apply_{node.operator.lower()}{kind}"
    text = _ONE.replace("NAME", name).replace(" PARAMETERS", "".join(f", float {key}" for key in given)).replace("EXPRESSION", expression)
    arguments = "".join(f", {literal(value)}" for value in given.values())
    call = f"{name}({{y}}, {{0}}, {elements(x.shape)}{arguments});"
    return walk.call(node, x.shape, call, [x], [CFunction(text)], in_place=True)


def gelu(walk: Walk, node: Node) -> Value:
    """GELU, exact or by the hyperbolic tangent."""
    exact = "0.5f * v * (1.0f + erff(v * 0.707106781f))"
    rough = "0.5f * v * (1.0f + tanhf(0.797884561f * (v + 0.044715f * v * v * v)))"
    if node.attribute("approximate", "none") == "none":
        return _one(walk, node, exact, {})
    return _one(walk, node, rough, {}, "_tanh")


def clip(walk: Walk, node: Node) -> Value:
    """Clipping at constants."""
    low, high = node.known(1, "min"), node.known(2, "max")
    bounds = {"low": float("-inf") if low is None else float(low), "high": float("inf") if high is None else float(high)}
    return _one(walk, node, "v < low ? low : v > high ? high : v", bounds)


def where(walk: Walk, node: Node) -> Value:
    """A choice of two by a comparison, which is 1 or 0; each is as large as the comparison, or one number."""
    condition, a, b = node.inputs
    if condition is None or a is None or b is None or any(elements(value.shape) not in (1, elements(condition.shape)) for value in (a, b)):
        raise node.refused("its inputs have different shapes")
    steps = [int(elements(value.shape) > 1) for value in (a, b)]
    text = f"where({{y}}, {{0}}, {{1}}, {{2}}, {elements(condition.shape)}, {steps[0]}, {steps[1]});"
    return walk.call(node, condition.shape, text, [condition, a, b], [_WHERE], in_place=True)


def _binary(expression: str) -> Operator:
    """An operator of two inputs, p and q."""

    def operator(walk: Walk, node: Node) -> Value:
        a, b = node.inputs[:2]
        for bias, other in ((b, a), (a, b)):
            if isinstance(bias, Bias) and node.operator == "Add":
                return add_bias(walk, node, other, bias)
        if a is None or b is None:
            raise node.refused("an input is missing")
        if node.operator == "Mul" and (gated := _gated(walk, node)) is not None:
            return gated
        shape = broadcast(node, a.shape, b.shape)
        sizes, (steps_a, steps_b) = merged(shape, [strides_for(a.shape, shape), strides_for(b.shape, shape)])
        name = f"each_{node.operator.lower()}"
        function = CFunction(_TWO.replace("NAME", name).replace("EXPRESSION", expression))
        if len(sizes) <= 1:
            count, step_a, step_b = (sizes or [1])[0], (steps_a or [0])[0], (steps_b or [0])[0]
            text = f"{name}({{y}}, {{0}}, {{1}}, {count}, {step_a}, {step_b});"
            return walk.call(node, shape, text, [a, b], [function], in_place=True)
        if len(sizes) > _AXES:
            raise node.refused(f"it broadcasts along more than {_AXES} axes")
        function = CFunction(_TWO_BROADCAST.replace("NAME", name), (function,))
        numbers = [*_filled(sizes, 1), *_filled(steps_a, 0), *_filled(steps_b, 0)]
        text = f"{name}_broadcast({{y}}, {{0}}, {{1}}, {', '.join(map(str, numbers))});"
        return walk.call(node, shape, text, [a, b], [function], in_place=True)

    return operator


_GATED = {"Sigmoid": ("silu", "v / (1.0f + expf(-v))")}
"""Last operator → function that computes an input times it."""


def _gated(walk: Walk, node: Node) -> Value | None:
    """A tensor times the function of itself that was computed last: one function, and no second buffer. None if it is something else."""
    last = walk.steps[-1] if walk.steps else None
    if not isinstance(last, Call) or last.note not in _GATED:
        return None
    for x, gate, name in ((node.inputs[0], node.inputs[1], node.names[1]), (node.inputs[1], node.inputs[0], node.names[0])):
        ours = isinstance(x, Buffer) and isinstance(gate, Buffer) and gate.number == last.writes and last.reads == (Operand(x.number),)
        if ours and walk.read_once(name) and x is not None:
            name, expression = _GATED[last.note]
            function = CFunction(_ONE.replace("NAME", f"apply_{name}").replace(" PARAMETERS", "").replace("EXPRESSION", expression))
            del walk.steps[-1]
            return walk.call(node, x.shape, f"apply_{name}({{y}}, {{0}}, {elements(x.shape)});", [x], [function], in_place=True)
    return None


def _filled(numbers: Sequence[int], missing: int) -> list[int]:
    return [missing] * (_AXES - len(numbers)) + list(numbers)


UNARY: Mapping[str, Operator] = {
    "Relu": _unary("v > 0.0f ? v : 0.0f"),
    "Sigmoid": _unary("1.0f / (1.0f + expf(-v))"),
    "Tanh": _unary("tanhf(v)"),
    "HardSigmoid": _unary("fminf(1.0f, fmaxf(0.0f, alpha * v + beta))", ("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": _unary("v * fminf(1.0f, fmaxf(0.0f, v / 6.0f + 0.5f))"),
    "LeakyRelu": _unary("v < 0.0f ? alpha * v : v", ("alpha", 0.01)),
    "Elu": _unary("v < 0.0f ? alpha * expm1f(v) : v", ("alpha", 1.0)),
    "Selu": _unary(
        "gamma * (v < 0.0f ? alpha * expm1f(v) : v)", ("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875)
    ),
    "Gelu": gelu,
    "Clip": clip,
    "Softplus": _unary("v > 20.0f ? v : log1pf(expf(v))"),
    "Softsign": _unary("v / (1.0f + fabsf(v))"),
    "Mish": _unary("v * tanhf(v > 20.0f ? v : log1pf(expf(v)))"),
    "Exp": _unary("expf(v)"),
    "Log": _unary("logf(v)"),
    "Sqrt": _unary("sqrtf(v)"),
    "Reciprocal": _unary("1.0f / v"),
    "Neg": _unary("-v"),
    "Abs": _unary("fabsf(v)"),
    "Erf": _unary("erff(v)"),
    "Round": _unary("rintf(v)"),
    "Floor": _unary("floorf(v)"),
    "Ceil": _unary("ceilf(v)"),
}
"""Operators of one input v."""

BINARY: Mapping[str, Operator] = {
    "Add": _binary("p + q"),
    "Sub": _binary("p - q"),
    "Mul": _binary("p * q"),
    "Div": _binary("p / q"),
    "Max": _binary("fmaxf(p, q)"),
    "Min": _binary("fminf(p, q)"),
    "Pow": _binary("powf(p, q)"),
    "Greater": _binary("p > q ? 1.0f : 0.0f"),
    "GreaterOrEqual": _binary("p >= q ? 1.0f : 0.0f"),
    "Less": _binary("p < q ? 1.0f : 0.0f"),
    "LessOrEqual": _binary("p <= q ? 1.0f : 0.0f"),
    "PRelu": _binary("p < 0.0f ? q * p : p"),
}
"""Operators of two inputs p and q; comparisons give 1 or 0."""
