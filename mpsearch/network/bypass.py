"""The float network inside a quantized one: the same weights with the quantizers switched off, everywhere or in one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.observe import hooked
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer

__all__ = ["bypassed", "on_same_inputs", "statistics_kept"]


@contextmanager
def bypassed(model: nn.Module) -> Iterator[None]:
    """All quantizers in `model` let their tensors through; for passes that are not compiled."""
    # The attribute alone: a graph recorded before may still need the buffers as they are.
    quantizers = {module: module.bits for module in model.modules() if isinstance(module, WeightQuantizer | ActQuantizer)}
    for quantizer in quantizers:
        quantizer.bits = FLOAT_BITS
    try:
        yield
    finally:
        for quantizer, bits in quantizers.items():
            quantizer.bits = bits


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Norms in training mode normalise by the batch as ever and leave their running statistics alone."""
    norms: list[Any] = [module for module in model.modules() if module.training and getattr(module, "track_running_stats", False)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def on_same_inputs(network: Network, inputs: Any, visit: Callable[[Layer, Tensor, Tensor], None]) -> None:
    """Run the quantized network once and show each call of a layer at float weights beside the quantized one, on the same quantized input.

    A layer stands for a weight: where a module has several (attention), the others stay quantized on both sides. Norms keep the mode they
    are in, everything else runs as in evaluation, so that dropout is not taken for rounding. Layers with float weights, and those whose
    module is not called, are not visited.

    Args:
        network: at an allocation; its running statistics stay as they are.
        inputs: one batch.
        visit: gets (layer, its output at float weights, its quantized output). Only the layer's float weight has a gradient, and only
            through the former. To be used at once: what follows may change the latter in place.
    """
    users: dict[nn.Module, list[Layer]] = {}
    for layer in network.space.layers:
        if network.weight_quantizer(layer).bits != FLOAT_BITS:
            for module in _callers(network.model, layer):
                users.setdefault(module, []).append(layer)
    inside = False

    def compare(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        nonlocal inside
        if inside:
            return
        inside = True
        try:
            for layer in users[module]:
                with torch.enable_grad(), _float_alone(network, layer, module):
                    visit(layer, _first(module.forward(*args, **kwargs)), _first(output))
        finally:
            inside = False

    hooks = hooked(after=[(module, compare) for module in users])
    with hooks, torch.no_grad(), statistics_kept(network.model), _only_norms_train(network.model):
        call(network.model, inputs)


@contextmanager
def _float_alone(network: Network, layer: Layer, module: nn.Module) -> Iterator[None]:
    """One weight is float and the only one in its module that gradients reach."""
    quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer)
    others = [parameter for parameter in module.parameters() if parameter.requires_grad and parameter is not weight]
    bits, quantizer.bits = quantizer.bits, FLOAT_BITS
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        quantizer.bits = bits
        for parameter in others:
            parameter.requires_grad_(True)


@contextmanager
def _only_norms_train(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        # Not `eval`: what a module keeps beside its mode is none of our business.
        module.training = module.training and hasattr(module, "track_running_stats")
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _callers(model: nn.Module, layer: Layer) -> dict[nn.Module, None]:
    """The modules that compute with the layer's weight, without repetition; attention does so with that of its `out_proj`."""
    found: dict[nn.Module, None] = {}
    for path in (layer.module, *(alias.rpartition(".")[0] for alias in layer.aliases)):
        parent = model.get_submodule(path.rpartition(".")[0])
        found[parent if isinstance(parent, nn.MultiheadAttention) else model.get_submodule(path)] = None
    return found


def _first(output: Any) -> Tensor:
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result
