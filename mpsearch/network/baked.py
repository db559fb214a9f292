"""`bake`: a trained `Network` → its numbers (`Parts`); `install`: numbers → a plain module.

The network that is scored (`evaluated`) and the network that is loaded from disk are both `install(float architecture, parts)`, so they
agree bit for bit. The network in training differs from them in two points: BatchNorm is not folded and scales are not rounded to half
precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, SUMMED, NumberFormat
from mpsearch.network.batchnorm import folded_gain_and_bias, owner_of, remove_norm, replace_weight
from mpsearch.network.half import in_float32
from mpsearch.network.integer_sums import ScaledSums, along_channels, multiplies_integers, scale_sums
from mpsearch.network.modes import evaluating
from mpsearch.network.network import Network, keep_slow_attention
from mpsearch.network.quantizers import (
    ActQuantizer,
    FixedActQuantizer,
    FixedPowerActQuantizer,
    InputCodes,
    attach_act_quantizer,
    attach_output_quantizer,
)
from mpsearch.network.state import distinct_state, sharing_copy
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid
from mpsearch.numbers.stored import StoredNumbers

__all__ = [
    "BakedLayer",
    "CodedWeight",
    "FloatWeight",
    "Parts",
    "QuantizedInput",
    "bake",
    "evaluated",
    "fixed_act_quantizer",
    "install",
    "install_each",
    "rest_of_state",
]


_DECODED = 2**20
"""Values that are decoded at once."""


@dataclass(frozen=True, kw_only=True)
class FloatWeight:
    """A weight that is not quantized.

    Args:
        values: float32, in the weight's own shape, BatchNorm folded in.
    """

    values: Tensor


@dataclass(frozen=True, kw_only=True)
class CodedWeight:
    """A quantized weight.

    Args:
        format: meaning of codes and scales, and how a file stores them.
        codes: int16 `[R, n]`; each row has one scale.
        scales: `[R]`; `[R, bases]` for sums of sign vectors, `[R, 2]` for scales and offsets of superblocks.
        zeros: int8 `[R]`, the code of 0, if the format has one.
    """

    format: NumberFormat
    codes: Tensor
    scales: StoredNumbers
    zeros: Tensor | None = None

    def values(self) -> Tensor:
        """float32 `[R, n]`."""
        return self._decoded(self.scales.numbers(), 1.0)

    def integers(self) -> Tensor:
        """float32 `[R, n]`, the values in units of `unit · scale`; only of formats that have an `integer_unit`."""
        return self._decoded(torch.ones(len(self.codes)), self.format.integer_unit or 1.0)

    def _decoded(self, scales: Tensor, unit: float) -> Tensor:
        """Some rows at a time, so that decoding takes little memory beside its result."""
        values = torch.empty(self.codes.shape)
        rows = max(_DECODED // max(self.codes.shape[1], 1), 1)
        for start in range(0, len(values), rows):
            part = slice(start, start + rows)
            torch.div(
                self.format.decode(self.codes[part], scales[part], None if self.zeros is None else self.zeros[part]), unit, out=values[part]
            )
        return values


@dataclass(frozen=True, kw_only=True)
class QuantizedInput:
    """How a layer's input, or its output, is quantized.

    Args:
        format: uniform or powers of two.
        signed: whether there are negative levels.
        step: float32 `[]`; for powers of two the largest level.
    """

    format: NumberFormat
    signed: bool
    step: Tensor


@dataclass(frozen=True, kw_only=True)
class BakedLayer:
    """The numbers of one layer, as a file stores them.

    Args:
        choice: the choice of the allocation.
        weight: codes, or float32.
        bias: with an exponent if a BatchNorm is folded in, else plain float32 `[C]`; None without a bias.
        input: None for a float input.
        output: None for an output that is not rounded.
    """

    choice: Choice
    weight: FloatWeight | CodedWeight
    bias: StoredNumbers | Tensor | None = None
    input: QuantizedInput | None = None
    output: QuantizedInput | None = None

    @property
    def weight_format(self) -> NumberFormat:
        """How the weight is stored."""
        return FLOAT if isinstance(self.weight, FloatWeight) else self.weight.format


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All numbers of a baked network: one entry per layer, and the rest of the `state_dict`."""

    layers: Mapping[str, BakedLayer]
    rest: Mapping[str, Tensor]

    @property
    def allocation(self) -> Allocation:
        """The choices of all layers."""
        return Allocation({name: layer.choice for name, layer in self.layers.items()})

    def chosen(self, allocation: Allocation) -> Parts:
        """The same numbers with the choices of the search, since a file holds only the stored formats."""
        return replace(self, layers={name: replace(layer, choice=allocation[name]) for name, layer in self.layers.items()})

    def for_floats(self, layers: Sequence[Layer]) -> Parts:
        """The numbers for a runtime that adds floats: no output is rounded, and biases of folded norms are stored as usual."""
        baked = {layer.name: replace(self.layers[layer.name], output=None) for layer in layers}
        for layer in layers:
            if isinstance(bias := baked[layer.name].bias, StoredNumbers):
                baked[layer.name] = replace(baked[layer.name], bias=StoredNumbers.of(bias.numbers(), wide=layer.wide))
        return replace(self, layers=baked)


def fixed_act_quantizer(input: QuantizedInput, *, codes: bool = False) -> FixedActQuantizer:
    """The quantizer of a layer's input; `codes`: it gives codes in place of values."""
    powers = input.format.kind == "power_of_two"
    quantizer = InputCodes() if codes else FixedPowerActQuantizer() if powers else FixedActQuantizer()
    quantizer.set_grid(input.format.bits, act_grid(input.format.bits, input.signed))
    quantizer.begin(input.step)
    return quantizer


def rest_of_state(model: nn.Module, layers: Sequence[Layer]) -> list[str]:
    """Names in the float model's `state_dict` that belong to no layer and stay unquantized in the artifact, in order.

    A tensor with several names has the first of them. It is no rest under any name if it belongs to a layer under one.
    """
    used = {f"{layer.module}.{layer.parameter}".lstrip(".") for layer in layers}
    used |= {alias for layer in layers for alias in layer.aliases}
    used |= {f"{layer.module}.bias".lstrip(".") for layer in layers if layer.bias_elements}
    norms = tuple(f"{layer.norm}." for layer in layers if layer.norm)
    held = {id(tensor) for name, tensor in model.state_dict(keep_vars=True).items() if name in used or name.startswith(norms)}
    return [name for name, tensor in distinct_state(model).items() if id(tensor) not in held and not name.endswith("num_batches_tracked")]


@torch.no_grad()
def bake(network: Network) -> Parts:
    """Convert to what the artifact stores: integer codes, half-precision scales and folded biases.

    Raises:
        ModelError: a weight, scale or bias is not finite.
    """
    return Parts(layers={layer.name: _baked(network, layer) for layer in network.space.layers}, rest=_rest(network))


def _rest(network: Network) -> dict[str, Tensor]:
    return {name: network.tensor(name).detach().cpu().clone() for name in rest_of_state(network.architecture, network.space.layers)}


def _baked(network: Network, layer: Layer) -> BakedLayer:
    choice = network.choice(layer)
    gain, bias = folded_gain_and_bias(network.model, layer)
    quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer).detach().float()
    baked: FloatWeight | CodedWeight
    if choice.weight.is_float:
        values = (quantizer.rows.split(weight) * quantizer.rows.spread(gain).unsqueeze(1)).contiguous()
        baked = FloatWeight(values=_finite(layer, quantizer.rows.join(values).contiguous().cpu()))
    else:
        codes, steps = quantizer.export(_finite(layer, weight))
        spread = (steps.t() * quantizer.rows.spread(gain)).t().contiguous().cpu()
        exact = choice.weight.in_superblocks  # steps are what a file makes of units and multiples
        scales = StoredNumbers.of(spread, wide=layer.wide or exact, bare=choice.weight.group is not None)
        _finite(layer, scales.values)
        zeros = quantizer.zeros().cpu() if choice.weight.zero_codes else None
        baked = CodedWeight(format=network.stored(choice.weight), codes=codes.cpu(), scales=scales, zeros=zeros)
    input, stored = _baked_act(layer, network.act_quantizer(layer)), _baked_bias(layer, bias)
    if layer.whole_bias and isinstance(baked, CodedWeight) and choice.activation.bits == SUMMED.bits and stored is not None:
        stored = _whole(stored, baked, input)
    output = _baked_act(layer, network.output_quantizer(layer))
    return BakedLayer(choice=choice, weight=baked, bias=stored, input=input, output=output)


def _baked_bias(layer: Layer, bias: Tensor | None) -> StoredNumbers | Tensor | None:
    if bias is None:
        return None
    bias = _finite(layer, bias.cpu().clone())  # the network is reused for other allocations
    if not layer.norm:
        return bias
    stored = StoredNumbers.of(bias, wide=layer.wide)
    _finite(layer, stored.values)
    return stored


def _whole(bias: StoredNumbers | Tensor, weight: CodedWeight, input: QuantizedInput | None) -> StoredNumbers | Tensor:
    """The bias in whole units of the sum, as kernels of integers add it; unchanged where a sum has no unit."""
    numbers = bias.numbers() if isinstance(bias, StoredNumbers) else bias
    if input is None or weight.format.integer_unit is None or weight.scales.values.numel() not in (1, len(numbers)):
        return bias
    units = weight.scales.numbers() * input.step * weight.format.integer_unit
    whole = torch.where(units != 0, (numbers / units).round() * units, numbers)
    return StoredNumbers(values=whole) if isinstance(bias, StoredNumbers) else whole


def _baked_act(layer: Layer, act: ActQuantizer | None) -> QuantizedInput | None:
    if act is None or act.bits == FLOAT_BITS:
        return None
    step = _finite(layer, act.step_value().detach().float().cpu().clone())
    format = NumberFormat("power_of_two" if act.powers else "uniform", act.bits)
    return QuantizedInput(format=format, signed=act.grid.lo < 0, step=step)


def _finite(layer: Layer, values: Tensor) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ModelError(f"layer '{layer.name}' has values that are not finite; lower the learning rate or choose more bits")
    return values


@torch.no_grad()
def install(model: nn.Module, layers: Sequence[Layer], parts: Parts, *, integers: bool = True) -> nn.Module:
    """A copy of the float architecture that holds the baked numbers: plain modules, frozen, in evaluation mode, on the model's device.

    A layer that multiplies integers (see `mpsearch.network.integer_sums`) has them in place of its weight, and its scale and bias follow in
    a module `output_scaling`.

    Args:
        model: float architecture; only its structure and non-persistent buffers matter.
        layers: as traced.
        parts: the numbers.
        integers: False: all layers hold values, for whoever looks at weights or at single operations; sums differ in rounding.
    """
    return install_each(model, layers, (parts.layers[layer.name] for layer in layers), parts.rest, integers=integers)


@torch.no_grad()
def install_each(
    model: nn.Module, layers: Sequence[Layer], baked: Iterable[BakedLayer], rest: Mapping[str, Tensor], *, integers: bool = True
) -> nn.Module:
    """As `install`, with layers that may be made one at a time: each is forgotten before the next is asked for.

    Args:
        model: see `install`; its weights are not copied.
        layers: as traced.
        baked: the numbers of each layer, in order.
        rest: those of the rest, by name.
        integers: see `install`.
    """
    device = next(model.parameters()).device
    model = in_float32(sharing_copy(model, rest))
    for layer, each in zip(layers, baked, strict=True):
        _install_layer(model, layer, each, device, integers=integers)
        del each
    for name, tensor in rest.items():
        getattr(*owner_of(model, name)).copy_(tensor)
    keep_slow_attention(model)
    return evaluating(model.requires_grad_(False))


def _install_layer(model: nn.Module, layer: Layer, baked: BakedLayer, device: torch.device, *, integers: bool) -> None:
    module = model.get_submodule(layer.module)
    bias = baked.bias.numbers() if isinstance(baked.bias, StoredNumbers) else baked.bias
    rows = Rows.of_layer(model, layer, baked.weight_format.granularity)
    scaling = None
    if isinstance(baked.weight, FloatWeight):
        weight = baked.weight.values
    elif integers and baked.input is not None and multiplies_integers(module, layer, baked.weight_format, baked.input.format):
        weight, bias, scaling = rows.join(baked.weight.integers()).contiguous(), None, _scaling(layer, baked.weight, baked.input, bias)
    else:
        weight = rows.join(baked.weight.values()).contiguous()
    replace_weight(module, layer.parameter, weight.to(device))
    for alias in layer.aliases:
        setattr(*owner_of(model, alias), getattr(module, layer.parameter))
    if bias is not None:
        module.bias = nn.Parameter(bias.to(device), requires_grad=False)
    if layer.norm:
        remove_norm(model, layer.norm)
    if baked.input is not None:
        attach_act_quantizer(module, fixed_act_quantizer(baked.input, codes=scaling is not None).to(device))
    if scaling is not None:
        module.bias = None  # type: ignore[assignment]
        scale_sums(module, scaling.to(device))
    if baked.output is not None:
        attach_output_quantizer(module, fixed_act_quantizer(baked.output).to(device))


def _scaling(layer: Layer, weight: CodedWeight, input: QuantizedInput, bias: Tensor | None) -> ScaledSums:
    scales = weight.scales.numbers() * input.step * (weight.format.integer_unit or 1.0)
    shaped = None if bias is None else bias.reshape(along_channels(layer, bias.numel()))
    return ScaledSums(scales.reshape(along_channels(layer, scales.numel())), shaped)


def evaluated(network: Network, *, integers: bool = True) -> nn.Module:
    """The baked network at its allocation and present state, as trials score it; `integers` as for `install`.

    Raises:
        ModelError: a weight, scale or bias is not finite.
    """
    layers = network.space.layers
    return install_each(network.architecture, layers, (_baked(network, layer) for layer in layers), _rest(network), integers=integers)
