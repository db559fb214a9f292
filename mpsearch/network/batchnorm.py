"""BatchNorm: folding into the preceding layer, and re-estimation of the statistics under quantization.

Folding: `γ (Wx + b − μ)/√(σ² + ε) + β = (g W) x + (β + g (b − μ))` with `g = γ/√(σ² + ε)` per output channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.modes import modes_kept, temporarily
from mpsearch.network.observe import first_input, hooked
from mpsearch.numbers.channels import Rows

__all__ = [
    "BATCH_NORMS",
    "fix_statistics",
    "fold",
    "folded",
    "folded_gain_and_bias",
    "needs_float32",
    "owner_of",
    "reestimate",
    "running_norms",
]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Modules that normalise by batch statistics in training and by running statistics in evaluation; subclasses too."""

_LARGEST_IN_HALF = 32.0
"""Largest folded bias, in standard deviations of its channel, that is stored in half precision, with an error of up to 1/64 of one."""


def running_norms(model: nn.Module) -> dict[str, Any]:
    """Every BatchNorm that keeps running statistics, by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats}


def folded_gain_and_bias(model: nn.Module, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """`g` and the folded bias, each `[channels]` float32; without a BatchNorm `g` is 1 and the bias is that of the layer (or None)."""
    module = model.get_submodule(layer.module)
    device = next(module.parameters()).device
    bias = getattr(module, "bias", None) if layer.bias_elements else None
    if not layer.norm:
        return torch.ones(layer.channels, device=device), None if bias is None else bias.detach().float()
    norm: Any = model.get_submodule(layer.norm)
    gain = torch.rsqrt(norm.running_var.float() + norm.eps)
    shift = -norm.running_mean.float() if bias is None else bias.detach().float() - norm.running_mean.float()
    if norm.affine:
        gain = gain * norm.weight.detach().float()
        return gain, norm.bias.detach().float() + gain * shift
    return gain, gain * shift


@torch.no_grad()
def needs_float32(model: nn.Module, layer: Layer) -> bool:
    """Whether half precision is too coarse for the layer's scales and folded bias b: `|b_c| > 32 · max(s_c, rms s)` for a channel c.

    `s = |γ|`, or 1 without γ, is the standard deviation of the channel after its BatchNorm. A bias that large takes off the mean of inputs
    far from zero, such as dates, or temperatures in kelvin; half precision would shift both it and the mean, by the rounding of scales, by
    up to `|b| · 2^−11`. Channels that are nearly constant are measured by the root mean square of all.
    """
    _, bias = folded_gain_and_bias(model, layer)
    if not layer.norm or bias is None:
        return False
    norm: Any = model.get_submodule(layer.norm)
    spread = norm.weight.detach().float().abs() if norm.affine else torch.ones_like(bias)
    return bool((bias.abs() > _LARGEST_IN_HALF * spread.clamp_min(float(spread.square().mean().sqrt()))).any())


def fold(model: nn.Module, layer: Layer) -> None:
    """Fold the layer's BatchNorm into its float weight, in place; the BatchNorm becomes an identity."""
    module: Any = model.get_submodule(layer.module)
    weight, bias = folded(model, layer)
    setattr(module, layer.parameter, weight)
    if bias is not None:
        module.bias = bias
    if layer.norm:
        remove_norm(model, layer.norm)


def folded(model: nn.Module, layer: Layer) -> tuple[nn.Parameter, nn.Parameter | None]:
    """The layer's weight and bias with its BatchNorm folded in, frozen."""
    module: Any = model.get_submodule(layer.module)
    gain, bias = folded_gain_and_bias(model, layer)
    rows = Rows.of_layer(model, layer)
    weight = rows.join((rows.split(module.weight.detach().float()) * gain.unsqueeze(1)).contiguous())
    return nn.Parameter(weight, requires_grad=False), None if bias is None else nn.Parameter(bias, requires_grad=False)


def owner_of(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds a tensor or module, and its name there."""
    owner, _, name = path.rpartition(".")
    return model.get_submodule(owner), name


def replace_weight(module: nn.Module, parameter: str, weight: Tensor) -> None:
    """Replace a parameter by a frozen one."""
    setattr(module, parameter, nn.Parameter(weight, requires_grad=False))


def remove_norm(model: nn.Module, path: str) -> None:
    """Replace a module by an identity, under all of its names."""
    norm = model.get_submodule(path)
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):  # `named_children` skips further names
            if child is norm:
                setattr(module, name, nn.Identity())


@torch.no_grad()
def fix_statistics(model: nn.Module, inputs: Any) -> None:
    """Give every BatchNorm without running statistics those of one batch, in place, so that samples no longer depend on each other."""
    norms: list[Any] = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is None]

    def keep(norm: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = first_input(args, kwargs).float()
        variance, mean = torch.var_mean(x, [axis for axis in range(x.dim()) if axis != 1], correction=0)
        found.setdefault(norm, (mean, variance))

    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    if norms:
        with hooked(after=[(norm, keep) for norm in norms]):
            call(model, inputs)
    for norm in norms:
        if norm in found:
            norm.running_mean, norm.running_var = found[norm]


@torch.no_grad()
def reestimate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Replace BatchNorm's running statistics by their average over `batches` of inputs; all other modules are in evaluation mode.

    Quantization shifts the statistics of the float network; a few hundred images correct most of the shift. Modes are restored.
    """
    norms = list(running_norms(model).values())
    if not norms:
        return
    with modes_kept(model), temporarily(norms, "momentum", None):
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        largest = 1
        for inputs in batches:
            largest = max(largest, batch_size(inputs))
            if batch_size(inputs) > 1 or largest == 1:  # a batch of one sample has no variance
                call(model, inputs)
