"""The float network inside a quantized one: the same weights with quantizers bypassed, in all layers or in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.network.inputs import call
from mpsearch.network.modes import modes_kept, temporarily
from mpsearch.network.network import Network
from mpsearch.network.observe import hooked
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer

__all__ = ["bypassed", "on_same_inputs", "statistics_kept"]


def bypassed(model: nn.Module) -> AbstractContextManager[None]:
    """Bypass all quantizers in `model`; for passes that are not compiled."""
    # Only the attribute changes: an earlier graph may still need the buffers.
    return temporarily([module for module in model.modules() if isinstance(module, WeightQuantizer | ActQuantizer)], "bits", FLOAT_BITS)


def statistics_kept(model: nn.Module) -> AbstractContextManager[None]:
    """Norms in training mode normalise by the batch without an update of their running statistics."""
    norms = [module for module in model.modules() if module.training and getattr(module, "track_running_stats", False)]
    return temporarily(norms, "track_running_stats", False)


def on_same_inputs(network: Network, inputs: Any, visit: Callable[[Layer, Tensor, Tensor], None]) -> None:
    """Run the quantized network once and compare each layer call with the same call at float weights, on the same quantized input.

    A layer is one weight: if a module has several (attention), the others stay quantized in both calls. Norms keep their mode; everything
    else runs in evaluation mode, so that dropout does not count as rounding error. Layers with float weights and layers whose module is
    not called are not visited.

    Args:
        network: at an allocation; its running statistics stay as they are.
        inputs: one batch.
        visit: called with (layer, output at float weights, quantized output). Only the layer's float weight has a gradient, and only
            through the first output. Later operations may change the second output in place.
    """
    layers_of: dict[nn.Module, list[Layer]] = {}
    for layer in network.space.layers:
        if network.weight_quantizer(layer).bits != FLOAT_BITS:
            for module in _callers(network.model, layer):
                layers_of.setdefault(module, []).append(layer)
    comparing = False

    def compare(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        nonlocal comparing
        if comparing:
            return
        comparing = True
        try:
            for layer in layers_of[module]:
                with torch.enable_grad(), _float_alone(network, layer, module):
                    visit(layer, _first(module.forward(*args, **kwargs)), _first(output))
        finally:
            comparing = False

    hooks = hooked(after=[(module, compare) for module in layers_of])
    with hooks, torch.no_grad(), statistics_kept(network.model), _only_norms_train(network.model):
        call(network.model, inputs)


@contextmanager
def _float_alone(network: Network, layer: Layer, module: nn.Module) -> Iterator[None]:
    """One weight is float, and the only parameter of its module that gradients reach."""
    quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer)
    others = [parameter for parameter in module.parameters() if parameter.requires_grad and parameter is not weight]
    with temporarily([quantizer], "bits", FLOAT_BITS), temporarily(others, "requires_grad", False):
        yield


@contextmanager
def _only_norms_train(model: nn.Module) -> Iterator[None]:
    with modes_kept(model):
        for module in model.modules():
            # Not `eval()`, which modules may override.
            module.training = module.training and hasattr(module, "track_running_stats")
        yield


def _callers(model: nn.Module, layer: Layer) -> dict[nn.Module, None]:
    """The distinct modules that compute with the layer's weight; attention does with that of its `out_proj`, and the owner of a list."""
    found: dict[nn.Module, None] = {}
    for path in (layer.module, *(alias.rpartition(".")[0] for alias in layer.aliases)):
        while path and type(model.get_submodule(path)).forward is nn.Module.forward:
            path = path.rpartition(".")[0]
        parent = model.get_submodule(path.rpartition(".")[0])
        found[parent if isinstance(parent, nn.MultiheadAttention) else model.get_submodule(path)] = None
    return found


def _first(output: Any) -> Tensor:
    while isinstance(output, tuple):  # of a packed sequence, its data
        output = output[0]
    result: Tensor = output
    return result
