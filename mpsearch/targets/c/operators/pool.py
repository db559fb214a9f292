"""Poolings: MaxPool and AveragePool."""

from __future__ import annotations

from mpsearch.targets.c.steps import CFunction
from mpsearch.targets.c.values import Buffer, Value
from mpsearch.targets.c.walk import Node, Walk
from mpsearch.targets.c.windows import Window, windows_of

__all__ = ["average_pool", "max_pool"]

_SIGNATURE = """(float *y, const float *x, int channels, int height, int width, int out_height, int out_width, int kernel_height,
    int kernel_width, int stride_y, int stride_x, int pad_y, int pad_x, """

_MAX = CFunction(
    """
static void max_pool"""
    + _SIGNATURE
    + """int dilation_y, int dilation_x)
{
    int c, oy, ox, ky, kx;
    for (c = 0; c < channels; c++, x += height * width)
        for (oy = 0; oy < out_height; oy++)
            for (ox = 0; ox < out_width; ox++) {
                float most = -INFINITY;
                for (ky = 0; ky < kernel_height; ky++) {
                    const int iy = oy * stride_y - pad_y + ky * dilation_y;
                    if (iy < 0 || iy >= height)
                        continue;
                    for (kx = 0; kx < kernel_width; kx++) {
                        const int ix = ox * stride_x - pad_x + kx * dilation_x;
                        if (ix >= 0 && ix < width && x[iy * width + ix] > most)
                            most = x[iy * width + ix];
                    }
                }
                *y++ = most;
            }
}
"""
)

_AVERAGE = CFunction(
    """
/* Elements in the padding count as zeros up to `end`, or not at all if `end` is that of the input. */
static void average_pool"""
    + _SIGNATURE
    + """int begin_y, int begin_x, int end_y, int end_x)
{
    int c, oy, ox, iy, ix;
    for (c = 0; c < channels; c++, x += height * width)
        for (oy = 0; oy < out_height; oy++)
            for (ox = 0; ox < out_width; ox++) {
                const int y0 = oy * stride_y - pad_y, x0 = ox * stride_x - pad_x;
                const int y1 = y0 + kernel_height, x1 = x0 + kernel_width;
                const int rows = (y1 < end_y ? y1 : end_y) - (y0 > begin_y ? y0 : begin_y);
                const int columns = (x1 < end_x ? x1 : end_x) - (x0 > begin_x ? x0 : begin_x);
                float sum = 0.0f;
                for (iy = y0 > 0 ? y0 : 0; iy < y1 && iy < height; iy++)
                    for (ix = x0 > 0 ? x0 : 0; ix < x1 && ix < width; ix++)
                        sum += x[iy * width + ix];
                *y++ = sum / (float)(rows * columns);
            }
}
"""
)


def max_pool(walk: Walk, node: Node) -> Value:
    """The largest number of each window; padding never counts."""
    return _pool(walk, node, average=False)


def average_pool(walk: Walk, node: Node) -> Value:
    """The mean of each window."""
    return _pool(walk, node, average=True)


def _pool(walk: Walk, node: Node, *, average: bool) -> Value:
    x = node.inputs[0]
    if not isinstance(x, Buffer):
        raise node.refused("its input does not depend on the network's input")
    windows = windows_of(node, x.shape[2:], node.attribute("kernel_shape", []))
    sizes = [window.slides(node, ceil=bool(node.attribute("ceil_mode", 0))) for window in windows]
    if average and any(window.dilation != 1 for window in windows):
        raise node.refused("its windows are dilated")
    padded = [Window(size=1, kernel=1), *windows][-2:]
    channels = x.shape[0] * x.shape[1]
    numbers = [channels, *(w.size for w in padded), *[1, *sizes][-2:], *(w.kernel for w in padded), *(w.stride for w in padded)]
    numbers += [w.before for w in padded]
    if average:
        counted = bool(node.attribute("count_include_pad", 0))
        numbers += [-w.before if counted else 0 for w in padded] + [w.size + (w.after if counted else 0) for w in padded]
    else:
        numbers += [w.dilation for w in padded]
    name = "average_pool" if average else "max_pool"
    text = f"{name}({{y}}, {{0}}, {', '.join(map(str, numbers))});"
    return walk.call(node, (*x.shape[:2], *sizes), text, [x], [_AVERAGE if average else _MAX])
