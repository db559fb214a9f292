"""Per-sample inner products of a loss gradient with the change of a layer's output: `u[n, k] = g_n · δy_{n,k}`.

Where the output is linear in the weight, `g_n · δy_{n,k} = ⟨δW_k, G_n⟩` with `G_n` the sample's own weight gradient. There are two ways to
compute it, and the cheaper one is chosen per layer:

    gradient   build `G_n` for a few samples at a time (one matrix product), then multiply by all δW_k at once
    replay     run the operation with δW_k in place of W, K times

A convolution is a linear layer on windows of its input.

Everything else (attention, transposed convolutions, embeddings, subclasses with their own forward) is replayed with `W + δW_k`, and
the output with `W` is subtracted.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mpsearch.network.patches import is_conv1d
from mpsearch.signals.probes.batch_axis import by_sample, tensors_of

__all__ = [
    "Unpadded",
    "conv_products",
    "linear_by_gradient",
    "linear_by_replay",
    "linear_products",
    "replay_difference",
    "unpadded",
    "weight_products",
]

_CHUNK = 2**20
"""Values of a temporary, so that it fits in the CPU cache."""

_SAMPLES = 16
"""Samples whose gradients are computed together, so that the δW_k are read only once."""

_TRAFFIC = 32.0
"""Cost of moving one float through memory, in multiply-accumulates; only the order of magnitude matters."""


def weight_products(
    module: nn.Module,
    parameter: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    g: Tensor,
    deltas: Tensor,
    axis: int,
    samples: int,
    number: int = 0,
) -> Tensor:
    """`[samples, K]` products for one call of a module.

    Args:
        module: the called module.
        parameter: name of the weight relative to the module.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        g: gradient of the summed per-sample losses with respect to the (first) output.
        deltas: `[K, *weight.shape]`, δW_k.
        axis: sample axis of the output.
        samples: N.
        number: of the output, if the module gives several.
    """
    x = args[0] if args else next(iter(kwargs.values()), None)
    if parameter == "weight" and isinstance(x, Tensor):
        x = x.detach()
        if isinstance(module, nn.Linear) and _is_stock(module, nn.Linear, "forward"):
            return linear_products(_by_sample_axis(x, axis, samples), _by_sample_axis(g, axis, samples), deltas)
        if is_conv1d(module):
            return linear_products(_by_sample_axis(x, axis, samples), _by_sample_axis(g, axis, samples), deltas.mT)
        if isinstance(module, nn.Conv1d | nn.Conv2d) and axis == 0 and x.dim() == g.dim() == deltas.dim() - 1:
            stock = nn.Conv1d if isinstance(module, nn.Conv1d) else nn.Conv2d
            if _is_stock(module, stock, "forward", "_conv_forward"):
                return conv_products(module, x, g, deltas).view(samples, -1, len(deltas)).sum(1)
    return replay_difference(module, parameter, args, kwargs, g, deltas, axis, samples, number)


def replay_difference(
    module: nn.Module,
    parameter: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    g: Tensor,
    deltas: Tensor,
    axis: int,
    samples: int,
    number: int = 0,
) -> Tensor:
    """As `weight_products`, for any module: `g_n · (f(x; W + δW_k) − f(x; W))`."""
    weight: Tensor = attrgetter(parameter)(module)

    def outputs(replaced: Tensor) -> Tensor:
        outputs = functional_call(module, {parameter: replaced}, args, kwargs, tie_weights=False)
        return by_sample(tensors_of(outputs)[number], axis, samples)

    g = by_sample(g, axis, samples)
    before = outputs(weight)
    columns = [((outputs(weight + delta) - before) * g).sum(1) for delta in deltas]
    return torch.stack(columns, 1)


def _is_stock(module: nn.Module, base: type[nn.Module], *methods: str) -> bool:
    """Whether the module's class does not override the methods."""
    return all(getattr(type(module), method) is getattr(base, method) for method in methods)


def _by_sample_axis(x: Tensor, axis: int, samples: int) -> Tensor:
    return x.movedim(axis, 0).reshape(samples, -1, x.shape[-1])


def linear_products(x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """`[N, K]` from x `[N, T, I]`, g `[N, T, O]`, deltas `[K, O, I]`, by the cheaper way."""
    positions, choices, weights = x.shape[1], len(deltas), deltas[0].numel()
    by_gradient = (positions + _TRAFFIC + choices) * weights
    by_replay = choices * positions * (weights + _TRAFFIC * deltas.shape[1])
    return linear_by_gradient(x, g, deltas) if by_gradient < by_replay else linear_by_replay(x, g, deltas)


def linear_by_gradient(x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """As `linear_products` through `G_n = Σ_t g_nt x_ntᵀ`, a few samples and a few output channels at a time."""
    samples, inputs = len(x), x.shape[2]
    group = min(samples, _SAMPLES)
    block = max(_CHUNK // (group * inputs), 1)
    result = x.new_zeros(samples, len(deltas))
    for part in _parts(samples, group):
        slopes = g[part].transpose(1, 2)
        for rows in _parts(deltas.shape[1], block):
            result[part] += torch.bmm(slopes[:, rows], x[part]).flatten(1) @ deltas[:, rows].flatten(1).t()
    return result


def linear_by_replay(x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """As `linear_products` through `δW_k x`."""
    rows, slopes = x.reshape(-1, x.shape[2]), g.reshape(len(g), -1)
    # One matrix product each: a batched one on transposed windows is many times slower.
    return torch.stack([(F.linear(rows, delta).view_as(slopes) * slopes).sum(1) for delta in deltas], 1)


def conv_products(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """`[N, K]` from x `[N, I, …]`, g `[N, O, …]`, deltas `[K, O, I/groups, …]`: a linear layer on windows of the input, any groups."""
    inner = unpadded(module, x, g, deltas)
    channels = x.shape[1] * inner.deltas.shape[3] * inner.deltas.shape[4]
    size = max(_CHUNK // (channels * g[0, 0].numel()), 1)
    return torch.cat([_window_products(inner, part, module.groups) for part in _parts(len(x), size)])


def _window_products(inner: Unpadded, part: slice, groups: int) -> Tensor:
    x, g, deltas = inner.x[part], inner.g[part], inner.deltas
    kernel, (height, width) = deltas.shape[3:], g.shape[2:]
    by_sample_, by_channel, by_row, by_column = x.stride()
    by_tap = by_row * inner.dilation[0], by_column * inner.dilation[1]
    by_place = by_row * inner.stride[0], by_column * inner.stride[1]
    windows = x.as_strided((len(x), x.shape[1], *kernel, height, width), (by_sample_, by_channel, *by_tap, *by_place))
    if groups == 1:
        rows = windows.reshape(len(x), -1, height * width).transpose(1, 2)
        return linear_products(rows, g.reshape(len(x), -1, height * width).transpose(1, 2), deltas.flatten(2))
    grouped = windows.reshape(len(x) * groups, -1, height * width)
    gradients = torch.bmm(g.reshape(len(x) * groups, -1, height * width), grouped.transpose(1, 2))
    return gradients.view(len(x), -1) @ deltas.flatten(1).t()


class Unpadded(NamedTuple):
    """A 2-D convolution without padding: `x` is already padded and cropped to what the kernel reads."""

    x: Tensor
    g: Tensor
    deltas: Tensor
    stride: tuple[int, int]
    dilation: tuple[int, int]


def unpadded(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, deltas: Tensor) -> Unpadded:
    """The same products without padding, and without the parts of the kernel that only ever see zeros.

    On a single pixel a padded 3×3 kernel uses one of its nine weights; deep layers on small images are often such cases.
    """
    amounts = module._reversed_padding_repeated_twice
    stride, dilation = tuple(module.stride), tuple(module.dilation)
    sizes = tuple(x.shape[2:])
    if any(amounts):
        x = F.pad(x, amounts, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)
    for axis, size in enumerate(sizes):
        before = amounts[2 * (len(sizes) - 1 - axis)]
        first, last = 0, deltas.shape[3 + axis] - 1
        if module.padding_mode == "zeros":
            reads = [
                tap
                for tap in range(last + 1)
                if any(0 <= place * stride[axis] + tap * dilation[axis] - before < size for place in range(g.shape[2 + axis]))
            ]
            first, last = (reads[0], reads[-1]) if reads else (0, 0)
        length = (g.shape[2 + axis] - 1) * stride[axis] + (last - first) * dilation[axis] + 1
        x = x.narrow(2 + axis, first * dilation[axis], length)
        deltas = deltas.narrow(3 + axis, first, last - first + 1)
    if len(sizes) == 1:
        return Unpadded(x.unsqueeze(2), g.unsqueeze(2), deltas.unsqueeze(3), (1, stride[0]), (1, dilation[0]))
    return Unpadded(x, g, deltas, (stride[0], stride[1]), (dilation[0], dilation[1]))


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
