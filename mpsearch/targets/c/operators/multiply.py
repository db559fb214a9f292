"""Operators that apply a layer's weight: Conv, ConvTranspose, Gemm and MatMul; and MatMul of two activations.

A weight is read one output channel at a time: its row is unpacked, then a function computes the channel's outputs. Its text is a template,
since types follow from the formats: `X` is that of inputs, `W` of weights, `SUM` of the accumulator; `AT(i)` reads input i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mpsearch.targets.c.steps import CFunction, Multiply
from mpsearch.targets.c.values import Bias, Buffer, Value, Weight, elements
from mpsearch.targets.c.walk import Node, Walk
from mpsearch.targets.c.windows import Window, windows_of

__all__ = ["add_bias", "conv", "gemm", "matmul", "transposed_conv"]

_PLANE = """
/* One channel of a convolution; `start` is the index of its first input. */
static void NAME(float *y, const X *x, int32_t start, const W *w, int channels, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_y, int stride_x, int pad_y, int pad_x, int dilation_y, int dilation_x,
    float scale, float bias)
{
    int oy, ox, c, ky, kx;
    for (oy = 0; oy < out_height; oy++) {
        const int top = oy * stride_y - pad_y;
        const int first_y = top < 0 ? (dilation_y - 1 - top) / dilation_y : 0;
        const int below_y = height > top ? (height - top + dilation_y - 1) / dilation_y : 0;
        const int last_y = below_y < kernel_height ? below_y : kernel_height;
        for (ox = 0; ox < out_width; ox++) {
            const int left = ox * stride_x - pad_x;
            const int first_x = left < 0 ? (dilation_x - 1 - left) / dilation_x : 0;
            const int below_x = width > left ? (width - left + dilation_x - 1) / dilation_x : 0;
            const int last_x = below_x < kernel_width ? below_x : kernel_width;
            SUM sum = 0;
            for (c = 0; c < channels; c++)
                for (ky = first_y; ky < last_y; ky++) {
                    const int32_t line = start + (c * height + top + ky * dilation_y) * width + left;
                    const W *weights = w + (c * kernel_height + ky) * kernel_width;
                    for (kx = first_x; kx < last_x; kx++)
                        sum += (SUM)AT(line + kx * dilation_x) * (SUM)weights[kx];
                }
            y[oy * out_width + ox] = (float)sum * scale + bias;
        }
    }
}
"""

_TRANSPOSED = """
/* One channel of a transposed convolution; `start` is the index of its first input. */
static void NAME(float *y, const X *x, int32_t start, const W *w, int channels, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_y, int stride_x, int pad_y, int pad_x, int dilation_y, int dilation_x,
    float scale, float bias)
{
    int oy, ox, c, ky, kx;
    for (oy = 0; oy < out_height; oy++)
        for (ox = 0; ox < out_width; ox++) {
            SUM sum = 0;
            for (ky = 0; ky < kernel_height; ky++) {
                const int far_y = oy + pad_y - ky * dilation_y;
                if (far_y < 0 || far_y % stride_y != 0 || far_y / stride_y >= height)
                    continue;
                for (kx = 0; kx < kernel_width; kx++) {
                    const int far_x = ox + pad_x - kx * dilation_x;
                    if (far_x < 0 || far_x % stride_x != 0 || far_x / stride_x >= width)
                        continue;
                    for (c = 0; c < channels; c++)
                        sum += (SUM)AT(start + (c * height + far_y / stride_y) * width + far_x / stride_x)
                            * (SUM)w[(c * kernel_height + ky) * kernel_width + kx];
                }
            }
            y[oy * out_width + ox] = (float)sum * scale + bias;
        }
}
"""

_COLUMN = """
/* One column of a matrix product: `rows` inputs of `n` numbers each. */
static void NAME(float *y, const X *x, const W *w, int rows, int n, int stride, float scale, float bias)
{
    int row, i;
    for (row = 0; row < rows; row++) {
        SUM sum = 0;
        for (i = 0; i < n; i++)
            sum += (SUM)AT(row * n + i) * (SUM)w[i];
        y[row * stride] = (float)sum * scale + bias;
    }
}
"""

_PRODUCT = CFunction("""
/* Matrix products of activations: [m, k] times [k, n], one after another. */
static void product(float *y, const float *a, const float *b, int batch, int m, int k, int n)
{
    int sample, row, column, i;
    for (sample = 0; sample < batch; sample++, a += m * k, b += k * n)
        for (row = 0; row < m; row++)
            for (column = 0; column < n; column++) {
                float sum = 0.0f;
                for (i = 0; i < k; i++)
                    sum += a[row * k + i] * b[i * n + column];
                *y++ = sum;
            }
}
""")


def conv(walk: Walk, node: Node) -> Value:
    """Convolution, 1-D or 2-D, grouped or not."""
    x, weight = _operands(node)
    windows = windows_of(node, x.shape[2:], weight.shape[2:])
    groups = int(node.attribute("group", 1))
    if weight.shape[1] * groups != x.shape[1]:
        raise node.refused(f"its weight [{_listed(weight.shape)}] does not fit its input [{_listed(x.shape)}]")
    return _planes(walk, node, _PLANE, (x, weight), windows, [window.slides(node) for window in windows], (weight.shape[0], groups))


def transposed_conv(walk: Walk, node: Node) -> Value:
    """Transposed convolution, 1-D or 2-D, grouped or not."""
    x, weight = _operands(node)
    windows = windows_of(node, x.shape[2:], weight.shape[2:])
    groups = int(node.attribute("group", 1))
    further = node.attribute("output_padding", [0] * len(windows))
    if node.attribute("output_shape", None) is not None:
        raise node.refused("its output shape is given")
    sizes = [w.stride * (w.size - 1) + more + w.span - w.before - w.after for w, more in zip(windows, further, strict=True)]
    return _planes(walk, node, _TRANSPOSED, (x, weight), windows, sizes, (weight.shape[1] * groups, groups))


def gemm(walk: Walk, node: Node) -> Value:
    """A linear layer: `x · Wᵀ + b`."""
    x, weight = _operands(node)
    if node.attribute("transA", 0) or node.attribute("alpha", 1.0) != 1 or node.attribute("beta", 1.0) != 1:
        raise node.refused("it transposes its input or scales its operands")
    if node.attribute("transB", 0):
        weight = Weight(weight.layer, weight.shape[::-1], not weight.transposed)
    return _columns(walk, node, x, weight, node.input(2))


def matmul(walk: Walk, node: Node) -> Value:
    """A matrix product with a layer's weight on the right, or of two activations."""
    a, b = node.inputs
    if isinstance(a, Buffer) and isinstance(b, Weight):
        return _columns(walk, node, a, b, None)
    if a is None or b is None or isinstance(a, Weight):
        raise node.refused("the weight stands on the left")
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        raise node.refused(f"it multiplies [{_listed(a.shape)}] by [{_listed(b.shape)}]")
    batch, (m, k), n = elements(a.shape[:-2]), a.shape[-2:], b.shape[-1]
    text = f"product({{y}}, {{0}}, {{1}}, {batch}, {m}, {k}, {n});"
    return walk.call(node, (*a.shape[:-1], n), text, [a, b], [_PRODUCT])


def add_bias(walk: Walk, node: Node, x: Value | None, bias: Bias) -> Value:
    """The bias of a linear layer, which the graph adds after the product: the layer's own multiplication adds it."""
    last = walk.steps[-1]
    if not (isinstance(x, Buffer) and isinstance(last, Multiply) and last.writes == x.number and last.layer == bias.layer) or last.biased:
        raise node.refused(f"it reads the bias of layer '{walk.layers[bias.layer].name}' apart from the layer")
    walk.steps[-1] = replace(last, biased=True)
    return x


def _operands(node: Node) -> tuple[Buffer, Weight]:
    x, weight = node.inputs[:2]
    if not isinstance(weight, Weight):
        raise node.refused("its weight belongs to no quantizable layer, or is computed from one")
    if not isinstance(x, Buffer):
        raise node.refused("its input does not depend on the network's input")
    return x, weight


def _planes(
    walk: Walk,
    node: Node,
    template: str,
    operands: tuple[Buffer, Weight],
    windows: Sequence[Window],
    sizes: Sequence[int],
    channels: tuple[int, int],
) -> Value:
    (x, weight), (out, groups) = operands, channels
    layer = walk.layers[weight.layer]
    if weight.shape != layer.weight_shape or weight.transposed or layer.axes is not None:
        raise node.refused(f"the weight of layer '{layer.name}' is reshaped before it is used")
    if x.shape[0] != 1:
        raise node.refused("it mixes the batch with another axis")
    inner = x.shape[1] // groups
    made = walk.new((1, out, *sizes))
    padded = [Window(size=1, kernel=1), *windows][-2:]
    outer = [1, *sizes][-2:]
    numbers = [
        inner,
        *(w.size for w in padded),
        *outer,
        *(w.kernel for w in padded),
        *(w.stride for w in padded),
        *(w.before for w in padded),
    ]
    numbers += [w.dilation for w in padded]
    first = f"(int32_t)(channel / {out // groups}u) * {inner * elements(x.shape[2:])}" if groups > 1 else "0"
    plane = elements(tuple(sizes))
    walk.steps.append(
        Multiply(
            layer=weight.layer,
            reads=x.number,
            writes=made.number,
            channels=out,
            columns=layer.weights // out,
            text=f"{{function}}({{y}} + channel * {plane}u, {{x}}, {first}, {{row}}, {_listed(numbers)}, {{scale}}, {{bias}});",
            template=template,
            biased=_has_bias(walk, node, weight, node.input(2)),
        )
    )
    return made


def _columns(walk: Walk, node: Node, x: Buffer, weight: Weight, bias: Value | None) -> Value:
    layer = walk.layers[weight.layer]
    by_input = layer.axes == (1,) if layer.axes is not None else False  # the parameter is [in, out]
    if len(weight.shape) != 2 or weight.transposed == by_input or layer.axes not in (None, (0,), (1,)):
        raise node.refused(f"the weight of layer '{layer.name}' is not used as a matrix [in, out] on the right")
    inner, out = weight.shape
    if x.shape[-1] != inner:
        raise node.refused(f"its weight [{_listed(weight.shape)}] does not fit its input [{_listed(x.shape)}]")
    made = walk.new((*x.shape[:-1], out))
    rows = elements(x.shape[:-1])
    walk.steps.append(
        Multiply(
            layer=weight.layer,
            reads=x.number,
            writes=made.number,
            channels=out,
            columns=inner,
            text=f"{{function}}({{y}} + channel, {{x}}, {{row}}, {rows}, {inner}, {out}, {{scale}}, {{bias}});",
            template=_COLUMN,
            biased=_has_bias(walk, node, weight, bias),
        )
    )
    return made


def _has_bias(walk: Walk, node: Node, weight: Weight, bias: Value | None) -> bool:
    if bias is None:
        return False
    if not isinstance(bias, Bias) or bias.layer != weight.layer:
        raise node.refused(f"the bias of layer '{walk.layers[weight.layer].name}' is not the layer's own")
    return True


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
