"""Per-sample inner products of a loss gradient with the change of a layer's output: `u[n, k] = g_n · δy_{n,k}`.

Where the output is linear in the weight, `g_n · δy_{n,k} = ⟨δW_k, G_n⟩` with `G_n` the sample's own weight gradient. There are two ways to
the same numbers, and the cheaper one is taken layer by layer:

    gradient   build `G_n` for a few samples at a time (one matrix product), then multiply by all δW_k at once
    replay     run the operation with δW_k in place of W, K times

Everything else (attention, transposed convolutions, embeddings, subclasses with a forward of their own) is replayed with `W + δW_k` and
the output with `W` is subtracted, which is what δy means.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mpsearch.signals.batch_axis import by_sample, first_tensor

__all__ = ["conv_by_gradient", "conv_by_replay", "linear_by_gradient", "linear_by_replay", "replay_difference", "weight_products"]

_CHUNK = 2**20
"""Floats of a temporary: small enough to stay near the cores."""

_TRAFFIC = 8.0
"""Multiply-accumulates that moving one float through memory costs; only the order of magnitude matters."""


def weight_products(
    module: nn.Module, parameter: str, args: tuple[Any, ...], kwargs: dict[str, Any], g: Tensor, deltas: Tensor, axis: int, samples: int
) -> Tensor:
    """`[samples, K]` products for one call of a module.

    Args:
        module: as it was called.
        parameter: name of the weight relative to the module.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        g: gradient of the summed per-sample losses with respect to the (first) output.
        deltas: `[K, *weight.shape]`, δW_k.
        axis: where the samples sit in the output.
        samples: N.
    """
    x = args[0] if args else next(iter(kwargs.values()), None)
    if parameter == "weight" and isinstance(x, Tensor):
        x = x.detach()
        if isinstance(module, nn.Linear) and _is_stock(module, nn.Linear, "forward"):
            return _linear(x, g, deltas, axis, samples)
        if isinstance(module, nn.Conv1d | nn.Conv2d) and axis == 0 and x.dim() == g.dim() == deltas.dim() - 1:
            stock = nn.Conv1d if isinstance(module, nn.Conv1d) else nn.Conv2d
            if _is_stock(module, stock, "forward", "_conv_forward"):
                return _conv(module, x, g, deltas).view(samples, -1, len(deltas)).sum(1)
    return replay_difference(module, parameter, args, kwargs, g, deltas, axis, samples)


def replay_difference(
    module: nn.Module, parameter: str, args: tuple[Any, ...], kwargs: dict[str, Any], g: Tensor, deltas: Tensor, axis: int, samples: int
) -> Tensor:
    """As `weight_products`, for any module: `g_n · (f(x; W + δW_k) − f(x; W))`."""
    weight: Tensor = attrgetter(parameter)(module)

    def outputs(replaced: Tensor) -> Tensor:
        output = first_tensor(functional_call(module, {parameter: replaced}, args, kwargs, tie_weights=False))
        assert output is not None
        return output

    g = by_sample(g, axis, samples)
    before = by_sample(outputs(weight), axis, samples)
    columns = [((by_sample(outputs(weight + delta), axis, samples) - before) * g).sum(1) for delta in deltas]
    return torch.stack(columns, 1)


def _is_stock(module: nn.Module, base: type[nn.Module], *methods: str) -> bool:
    """Whether a subclass left the methods as they were."""
    return all(getattr(type(module), method) is getattr(base, method) for method in methods)


def _gradient_is_cheaper(macs: float, moved: float, weights: float, outputs: float, choices: int) -> bool:
    """Per sample: one set of products, moving its operands and `G_n`; against K sets of products and moving their outputs."""
    return macs + _TRAFFIC * (moved + weights) + choices * weights < choices * (macs + _TRAFFIC * outputs)


def _linear(x: Tensor, g: Tensor, deltas: Tensor, axis: int, samples: int) -> Tensor:
    choices, outputs, inputs = deltas.shape
    x, g = x.movedim(axis, 0).reshape(samples, -1, inputs), g.movedim(axis, 0).reshape(samples, -1, outputs)
    positions = x.shape[1]
    weights = outputs * inputs
    by_gradient = _gradient_is_cheaper(positions * weights, 0, weights, positions * outputs, choices)
    return linear_by_gradient(x, g, deltas) if by_gradient else linear_by_replay(x, g, deltas)


def linear_by_gradient(x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """`[N, K]` from x `[N, T, I]`, g `[N, T, O]`, deltas `[K, O, I]` through `G_n = Σ_t g_nt x_ntᵀ`."""
    columns = deltas.flatten(1).t()
    return _chunked(len(x), deltas[0].numel(), lambda part: torch.bmm(g[part].transpose(1, 2), x[part]).flatten(1) @ columns)


def linear_by_replay(x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """As `linear_by_gradient` through `δW_k x`."""
    return torch.stack([(F.linear(x, delta) * g).flatten(1).sum(1) for delta in deltas], 1)


def _conv(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    weights, positions = deltas[0].numel(), g[0, 0].numel()
    kernel = deltas[0, 0, 0].numel()
    window = x.shape[1] * kernel * positions if kernel > 1 else 0
    by_gradient = _gradient_is_cheaper(positions * weights, window, weights, g[0].numel(), len(deltas))
    return conv_by_gradient(module, x, g, deltas) if by_gradient else conv_by_replay(module, x, g, deltas)


def _padded(module: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    amounts = module._reversed_padding_repeated_twice
    if not any(amounts):
        return x
    return F.pad(x, amounts, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)


def conv_by_gradient(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """`[N, K]` from x `[N, I, …]`, g `[N, O, …]`, deltas `[K, O, I/groups, …]` through `G_n = g_n · windows(x_n)ᵀ`, any groups."""
    groups, flat = module.groups, isinstance(module, nn.Conv1d)
    stride, dilation = ((1, *module.stride), (1, *module.dilation)) if flat else (module.stride, module.dilation)
    kernel = (1, *deltas.shape[3:]) if flat else tuple(deltas.shape[3:])
    padded = _padded(module, x)
    if flat:
        padded, g = padded.unsqueeze(2), g.unsqueeze(2)
    columns = deltas.flatten(1).t()
    channels, (height, width) = padded.shape[1], g.shape[2:]
    per_group = channels // groups * kernel[0] * kernel[1]

    def products(part: slice) -> Tensor:
        piece = padded[part]
        by_sample_, by_channel, by_row, by_column = piece.stride()
        windows = piece.as_strided(
            (len(piece), channels, *kernel, height, width),
            (by_sample_, by_channel, by_row * dilation[0], by_column * dilation[1], by_row * stride[0], by_column * stride[1]),
        )
        windows = windows.reshape(len(piece) * groups, per_group, height * width)
        slopes = g[part].reshape(len(piece) * groups, -1, height * width)
        return torch.bmm(slopes, windows.transpose(1, 2)).view(len(piece), -1) @ columns

    return _chunked(len(x), max(channels * kernel[0] * kernel[1] * height * width, len(columns)), products)


def conv_by_replay(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, deltas: Tensor) -> Tensor:
    """As `conv_by_gradient` through `δW_k * x`."""
    convolve: Any = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    padded = _padded(module, x)
    columns = [(convolve(padded, delta, None, module.stride, 0, module.dilation, module.groups) * g).flatten(1).sum(1) for delta in deltas]
    return torch.stack(columns, 1)


def _chunked(samples: int, floats: int, products: Callable[[slice], Tensor]) -> Tensor:
    size = max(_CHUNK // max(floats, 1), 1)
    return torch.cat([products(slice(start, min(start + size, samples))) for start in range(0, samples, size)])
