"""From a trained `Network` to plain numbers (`Parts`) and from those to a plain module (`install`).

The network that is scored (`evaluated`) and the network that is loaded from disk are both `install(float architecture, parts)`: they
agree bit for bit because one function runs on the same numbers. The network in training differs from them by what is done once, at the
end: BatchNorm is folded and scales are rounded to half precision.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import folded_gain_and_bias, remove_norm, replace_weight
from mpsearch.network.network import Network, keep_slow_attention
from mpsearch.network.quantizers import ActQuantizer, PowerActQuantizer, attach_act_quantizer
from mpsearch.numbers.act_formats import ActFormat, act_format
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.formats import Format
from mpsearch.numbers.grid import act_grid

__all__ = ["BakedLayer", "FixedActQuantizer", "Parts", "bake", "evaluated", "from_half", "install", "rest_of_state", "to_half"]


@dataclass(frozen=True, kw_only=True)
class BakedLayer:
    """The numbers of one layer, as the artifact stores them.

    Args:
        choice: its bits.
        format: how codes and scales are stored and what they mean; None for a float weight.
        codes: int16 `[C, n]`, or None for a float weight.
        weight: float32 weight in its own shape, BatchNorm folded in; None for a quantized weight.
        scales: float16 `[C]`, of a multibit weight `[C, 8]`, to be multiplied by `2^scale_exponent`; None for a float weight.
        bias: float16 `[C]` (times `2^bias_exponent`) where a BatchNorm is folded in, float32 `[C]` elsewhere; None without bias.
        act_format: which values the quantized activation takes; None for a float one.
        act_step: float32 `[]`, its scale; None for a float activation.
    """

    choice: Choice
    format: Format | None
    codes: Tensor | None
    weight: Tensor | None
    scales: Tensor | None
    scale_exponent: int
    bias: Tensor | None
    bias_exponent: int
    act_format: ActFormat | None
    act_step: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All numbers of a baked network: one entry a layer, and the rest of the `state_dict`."""

    layers: Mapping[str, BakedLayer]
    rest: Mapping[str, Tensor]

    @property
    def allocation(self) -> Allocation:
        """The bits."""
        return Allocation({name: layer.choice for name, layer in self.layers.items()})


class FixedActQuantizer(ActQuantizer):
    """An activation quantizer that no longer learns."""

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.ones(()))

    def begin(self, step: Tensor) -> None:
        """Take the step."""
        self.step.copy_(step)

    def step_value(self) -> Tensor:
        """The step."""
        return self.step


class FixedPowerActQuantizer(PowerActQuantizer, FixedActQuantizer):
    """The same for powers of two: its step is the largest level."""


def to_half(values: Tensor) -> tuple[Tensor, int]:
    """float32 → float16 and one exponent: `values ≈ half · 2^exponent`, relative error 2^−11 down to 2^−14 of the largest."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    exponent = 0
    if largest > 0 and largest < float("inf"):
        exponent = max(-126, min(127, math.frexp(largest)[1]))
    return torch.ldexp(values.float(), torch.tensor(-exponent)).half(), exponent


def from_half(half: Tensor, exponent: int) -> Tensor:
    """float32 `half · 2^exponent`, exact."""
    return torch.ldexp(half.float(), torch.tensor(exponent))


def rest_of_state(model: nn.Module, layers: Sequence[Layer]) -> list[str]:
    """Names in the float model's `state_dict` that belong to no layer: what stays float in the artifact, in order."""
    gone = {f"{layer.module}.{layer.parameter}".lstrip(".") for layer in layers}
    gone |= {alias for layer in layers for alias in layer.aliases}
    gone |= {f"{layer.module}.bias".lstrip(".") for layer in layers if layer.bias_elements}
    norms = tuple(f"{layer.norm}." for layer in layers if layer.norm)
    return [
        name for name in model.state_dict() if name not in gone and not name.startswith(norms) and not name.endswith("num_batches_tracked")
    ]


@torch.no_grad()
def bake(network: Network) -> Parts:
    """Round everything to what the artifact stores: integer codes, half-precision scales and folded biases.

    Raises:
        ModelError: a weight, scale or bias is not finite.
    """
    layers: dict[str, BakedLayer] = {}
    for layer in network.space.layers:
        assert network.allocation is not None
        choice = network.allocation[layer.name]
        quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer).detach().float()
        gain, bias = folded_gain_and_bias(network.model, layer)
        codes = scales = stored_weight = levels = act_step = format = None
        scale_exponent = bias_exponent = 0
        if choice.weight_bits == FLOAT_BITS:
            stored_weight = quantizer.rows.join((quantizer.rows.split(weight) * gain.unsqueeze(1)).contiguous()).contiguous().cpu()
        else:
            format = network.method.format(choice.weight_bits)
            codes, steps = quantizer.export(weight)
            scales, scale_exponent = to_half((steps.t() * gain).t().contiguous().cpu())
            codes = codes.cpu()
        if bias is not None:
            bias = bias.cpu().clone()  # the network goes on to other allocations
            if layer.norm:
                bias, bias_exponent = to_half(bias)
        act = network.act_quantizer(layer)
        if act is not None and choice.act_bits != FLOAT_BITS:
            levels = act_format(signed=act.grid.lo < 0, powers=act.powers)
            act_step = act.step_value().detach().float().cpu().clone()
        for value in (stored_weight, scales, bias, act_step):
            if value is not None and not bool(torch.isfinite(value).all()):
                raise ModelError(f"layer '{layer.name}' has values that are not finite; lower the learning rate or choose more bits")
        layers[layer.name] = BakedLayer(
            choice=choice,
            format=format,
            codes=codes,
            weight=stored_weight,
            scales=scales,
            scale_exponent=scale_exponent,
            bias=bias,
            bias_exponent=bias_exponent,
            act_format=levels,
            act_step=act_step,
        )
    rest = {name: network.tensor(name).detach().cpu().clone() for name in rest_of_state(network.architecture, network.space.layers)}
    return Parts(layers=layers, rest=rest)


@torch.no_grad()
def install(model: nn.Module, layers: Sequence[Layer], parts: Parts) -> nn.Module:
    """A copy of the float architecture that holds the baked numbers: plain modules, frozen, in evaluation mode, on the model's device.

    Args:
        model: float architecture; only its structure and non-persistent buffers matter.
        layers: as traced.
        parts: the numbers.
    """
    device = next(model.parameters()).device
    model = copy.deepcopy(model)
    for layer in layers:
        baked = parts.layers[layer.name]
        module = model.get_submodule(layer.module)
        rows = Rows.of(module, getattr(module, layer.parameter))
        if baked.format is None:
            assert baked.weight is not None
            weight = baked.weight
        else:
            assert baked.codes is not None
            assert baked.scales is not None
            scales = from_half(baked.scales, baked.scale_exponent)
            weight = rows.join(baked.format.dequantize(baked.codes, scales)).contiguous()
        replace_weight(module, layer.parameter, weight.to(device))
        for alias in layer.aliases:
            owner, _, parameter = alias.rpartition(".")
            setattr(model.get_submodule(owner), parameter, getattr(module, layer.parameter))
        if baked.bias is not None:
            bias = from_half(baked.bias, baked.bias_exponent) if layer.norm else baked.bias
            module.bias = nn.Parameter(bias.to(device), requires_grad=False)
        if layer.norm:
            remove_norm(model, layer.norm)
        if baked.act_format is not None:
            assert baked.act_step is not None
            quantizer = FixedPowerActQuantizer() if baked.act_format.powers else FixedActQuantizer()
            quantizer.set_grid(baked.choice.act_bits, act_grid(baked.choice.act_bits, baked.act_format.signed))
            quantizer.begin(baked.act_step)
            attach_act_quantizer(module, quantizer.to(device))
    for name, tensor in parts.rest.items():
        owner, _, leaf = name.rpartition(".")
        getattr(model.get_submodule(owner), leaf).copy_(tensor)
    keep_slow_attention(model)
    return model.requires_grad_(False).eval()


def evaluated(network: Network) -> nn.Module:
    """The network as it is scored, at its allocation and with the state it is in: the only evaluation forward of the house.

    Raises:
        ModelError: a weight, scale or bias is not finite.
    """
    return install(network.architecture, network.space.layers, bake(network))
