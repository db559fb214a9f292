"""`Network`: a model with quantizers attached, which can be set to any allocation of its space."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS, Granularity, NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.batchnorm import owner_of
from mpsearch.network.calibrate import Calibration
from mpsearch.network.quantizers import (
    ActQuantizer,
    WeightQuantizer,
    act_quantizer_of,
    attach_act_quantizer,
    attach_output_quantizer,
    output_quantizer_of,
)
from mpsearch.network.recurrent import follow_weights
from mpsearch.network.state import sharing_copy
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import GridStyle, act_grid, grid_of

__all__ = ["Network", "QuantizerFactory", "keep_slow_attention"]


W = TypeVar("W", bound=WeightQuantizer)


class QuantizerFactory(Protocol):
    """What `Network` needs of a method."""

    @property
    def grid(self) -> GridStyle:
        """Weight grid."""

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """A new quantizer for one weight."""

    def act_quantizer(self) -> ActQuantizer:
        """A new quantizer for one input."""

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """Format in which a file stores a weight with the menu format `asked`; None: the method cannot train it."""

    def begin(self, network: Network) -> None:
        """Called when the network has taken an allocation."""


class Network:
    """A copy of a float model with the quantizers of one method; `begin` initialises it at an allocation.

    Weights are quantized by `torch.nn.utils.parametrize`, inputs by forward pre-hooks; modules keep their forward and their path.

    Args:
        model: float network; copied, never changed.
        space: its layers and what may be chosen.
        calibration: ranges.
        method: makes the quantizers.
        shares: whether the weights behind the quantizers lie in the memory of the model's until `own_weights`; nobody may write to them.
    """

    def __init__(
        self, model: nn.Module, space: ResolvedSpace, calibration: Calibration, method: QuantizerFactory, *, shares: bool = False
    ) -> None:
        self.architecture = model
        self.shares = shares
        self.model = sharing_copy(model, _vectors(model)) if shares else copy.deepcopy(model)
        self.space = space
        self.method = method
        self.allocation: Allocation | None = None
        self._calibration = calibration
        self._quantizers: dict[tuple[str, Granularity], WeightQuantizer] = {}
        self._acts: dict[str, ActQuantizer] = {}
        device = next(model.parameters()).device
        follow_weights(self.model)
        for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
            module = self.model.get_submodule(layer.module)
            for granularity in space.granularities(row):
                quantizer = method.weight_quantizer(Rows.of_layer(self.model, layer, granularity)).to(device)
                if any(choice.weight.zero_point for choice in menu):
                    quantizer.allow_zero_points()
                self._quantizers[layer.name, granularity] = quantizer
            quantizer = self._quantizers[layer.name, space.granularities(row)[0]]
            parametrize.register_parametrization(module, layer.parameter, quantizer)
            for alias in layer.aliases:
                parametrize.register_parametrization(*owner_of(self.model, alias), quantizer)
            if any(not choice.activation.is_float for choice in menu):
                self._acts[layer.name] = method.act_quantizer().to(device)
                attach_act_quantizer(module, self._acts[layer.name])
                if layer.rounds_output:
                    attach_output_quantizer(self.model.get_submodule(layer.norm or layer.module), method.act_quantizer().to(device))
        keep_slow_attention(self.model)

    def choice(self, layer: Layer) -> Choice:
        """The layer's choice at the present allocation.

        Raises:
            RuntimeError: no allocation was set yet.
        """
        if self.allocation is None:
            raise RuntimeError("the network has no allocation yet; call begin first")
        return self.allocation[layer.name]

    def stored(self, weight: NumberFormat) -> NumberFormat:
        """Format in which a file stores weights of a menu format.

        Raises:
            SpaceError: the method cannot train it.
        """
        found = self.method.stores(weight)
        if found is None:
            raise SpaceError(
                f"the method {type(self.method).__name__} cannot train weights of the format '{weight}'; leave it out of the menu"
            )
        return found

    def weight_quantizer(self, layer: Layer) -> WeightQuantizer:
        """The layer's weight quantizer."""
        return cast(WeightQuantizer, self._parametrization(layer)[0])

    def quantized(self, kind: type[W]) -> Iterator[tuple[Layer, W]]:
        """Layers with a quantized weight, with their quantizers; only quantizers of class `kind`."""
        for layer in self.space.layers:
            quantizer = self.weight_quantizer(layer)
            if isinstance(quantizer, kind) and quantizer.bits != FLOAT_BITS:
                yield layer, quantizer

    def act_quantizer(self, layer: Layer) -> ActQuantizer | None:
        """The layer's input quantizer; None if its menu has only float inputs."""
        return act_quantizer_of(self.model, layer)

    def output_quantizer(self, layer: Layer) -> ActQuantizer | None:
        """The quantizer of the layer's output; None where that is not rounded."""
        return output_quantizer_of(self.model, layer) if layer.rounds_output else None

    def latent_weight(self, layer: Layer) -> Tensor:
        """The float weight behind the quantizer."""
        return self._parametrization(layer).original

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """Learnable parameters of the quantizers, such as LSQ's steps."""
        return [p for m in self.model.modules() if isinstance(m, WeightQuantizer | ActQuantizer) for p in m.parameters(recurse=False)]

    def network_parameters(self) -> list[nn.Parameter]:
        """The model's own parameters."""
        own = {id(parameter) for parameter in self.quantizer_parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in own]

    @torch.no_grad()
    def set_bits(self, allocation: Allocation) -> None:
        """Set only the grids; weights, statistics and steps are kept. In place, so compiled code stays valid."""
        self.allocation = self.space.check(allocation)
        for layer in self.space.layers:
            choice = self.allocation[layer.name]
            weight, input = choice.weight, choice.activation
            if not weight.is_float:
                self._mount(layer, weight.granularity)
            self.weight_quantizer(layer).set_grid(weight.bits, None if weight.is_float else grid_of(weight, self.method.grid))
            self._share_input(layer)
            if (act := self.act_quantizer(layer)) is not None:
                act.set_grid(input.bits, None if input.is_float else act_grid(input.bits, self._calibration.signed(layer.name)))
            if (output := self.output_quantizer(layer)) is not None:
                format = layer.output_format(weight, input)
                output.set_grid(format.bits, None if format.is_float else act_grid(format.bits, signed=True))

    @torch.no_grad()
    def begin(self, allocation: Allocation) -> None:
        """Restore the float weights and statistics, set the grids and the calibrated steps. In place, so compiled code stays valid."""
        for name, tensor in self.architecture.state_dict().items():
            if (own := self.tensor(name)).data_ptr() != tensor.data_ptr():
                own.copy_(tensor)
        self.set_bits(allocation)
        for layer in self.space.layers:
            quantizer, act, weight = self.weight_quantizer(layer), self.act_quantizer(layer), self.choice(layer).weight
            if not weight.is_float:
                steps = self._calibration.weight_steps(layer.name, weight, self.method.grid)
                quantizer.set_zeros(self._calibration.zeros(layer.name, weight))
                quantizer.begin(quantizer.rows.split(self.latent_weight(layer).detach()), steps)
            if act is not None and act.bits != FLOAT_BITS:
                act.begin(self._calibration.act_step(layer.name, self.choice(layer).activation))
            if (output := self.output_quantizer(layer)) is not None and output.bits != FLOAT_BITS:
                output.begin(self._calibration.output_step(layer.name))
        self.method.begin(self)

    def _mount(self, layer: Layer, granularity: Granularity) -> None:
        """Put the layer's quantizer of a granularity in its place."""
        quantizer = self._quantizers[layer.name, granularity]
        if self.weight_quantizer(layer) is not quantizer:
            quantizer.train(self.weight_quantizer(layer).training)
            for path in (f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases):
                module, leaf = owner_of(self.model, path)
                cast(parametrize.ParametrizationList, cast(nn.ModuleDict, module.parametrizations)[leaf])[0] = quantizer

    def _share_input(self, layer: Layer) -> None:
        """One quantizer for all layers that read a tensor in the same format."""
        own, other = self._acts.get(layer.name), self._acts.get(layer.reads_with)
        if own is None or other is None or self.allocation is None:
            return
        alike = self.allocation[layer.name].activation == self.allocation[layer.reads_with].activation
        chosen, module = other if alike else own, self.model.get_submodule(layer.module)
        if module.input_quantizer is not chosen:
            chosen.train(own.training)
            module.input_quantizer = chosen

    def own_weights(self) -> None:
        """Give the network weights of its own, before anything writes to them."""
        for parameter in self.network_parameters() if self.shares else ():
            parameter.data = parameter.data.clone()
        self.shares = False

    def _parametrization(self, layer: Layer) -> parametrize.ParametrizationList:
        module = self.model.get_submodule(layer.module)
        return cast(parametrize.ParametrizationList, cast(nn.ModuleDict, module.parametrizations)[layer.parameter])

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer by its name in the float model's `state_dict`."""
        module, leaf = owner_of(self.model, name)
        if parametrize.is_parametrized(module, leaf):
            return cast(parametrize.ParametrizationList, cast(nn.ModuleDict, module.parametrizations)[leaf]).original
        return cast(Tensor, getattr(module, leaf))


def _vectors(model: nn.Module) -> list[str]:
    """Names of parameters with one axis or none, such as biases, which corrections of an untrained network change."""
    return [name for name, tensor in model.state_dict().items() if tensor.dim() < 2]


def keep_slow_attention(model: nn.Module) -> None:
    """Disable the fused path of transformer layers in evaluation, which bypasses hooks and rounds differently; any hook disables it."""
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer | nn.TransformerEncoder):
            module.register_forward_pre_hook(_nothing)


def _nothing(module: nn.Module, args: object) -> None:
    return None
