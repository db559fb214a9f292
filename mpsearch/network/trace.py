"""`survey`: the quantizable layers of a model and all that stays float, from one forward pass with hooks; `trace`: the layers alone.

No graph is captured, so `forward` may have control flow. No output is kept: a weak reference tells whether a tensor is the one that a
module gave. Weights of known modules are found by class, and every other parameter that
the pass multiplies by its use (`mpsearch.network.watch`). A BatchNorm belongs to a convolution or linear layer if its input is that
layer's output tensor, both are called once, and folding it does not change the network's outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import BATCH_NORMS, needs_float32
from mpsearch.network.folding import confirmed
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.integer_sums import is_product
from mpsearch.network.lookup import by_row
from mpsearch.network.modes import evaluating, modes_kept
from mpsearch.network.observe import Outputs, first_input, hooked
from mpsearch.network.recurrent import RECURRENT, recurrent_weights
from mpsearch.network.survey import Survey
from mpsearch.network.watch import FUSED, Product, Watch
from mpsearch.numbers.channels import Rows
from mpsearch.tasks.outputs import described, float_tensors

__all__ = ["QUANTIZABLE", "survey", "trace"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALISED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
QUANTIZABLE = (*_NORMALISED, *_EMBEDDINGS, nn.MultiheadAttention, *RECURRENT)
"""Modules whose weights are quantized; subclasses too."""


@dataclass
class _Seen:
    """What hooks record of one module, over all batches; `calls` are the most in one."""

    calls: int = 0
    now: int = 0
    inputs: int = 0
    outputs: int = 0
    query: int = 0
    keys: int = 0
    order: int = 10**9
    negative: bool = False
    floating: bool = False
    fed_by: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()


def trace(model: nn.Module, inputs: Any) -> tuple[Layer, ...]:
    """The layers of `survey`."""
    return survey(model, inputs).layers


def survey(model: nn.Module, inputs: Any, further: Callable[[], Iterable[Any]] = tuple) -> Survey:
    """Layers in forward order, and what the pass does with all other parameters.

    Args:
        model: any module; its parameters, buffers and mode are not changed.
        inputs: one batch; a larger batch makes the observed sign of each activation more reliable.
        further: gives further batches, each time it is called. They are read as long as a module has not been called, or where a sample is
            not like the other: one by one, until two in a row have the same counts.

    Returns:
        Among others one `Layer` per weight. A tensor used by several modules is one layer (`aliases`).

    Raises:
        ModelError: the forward pass fails, or nothing can be quantized.
    """
    classes = QUANTIZABLE + BATCH_NORMS
    modules: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if isinstance(module, classes)}
    seen = {name: _Seen() for name in modules}
    outputs, inputs_read = Outputs(), Outputs()
    order = itertools.count()
    watch = Watch(model, order, outputs)
    known = [module for module in modules.values() if isinstance(module, QUANTIZABLE)]
    records = [(module, partial(_record, name, seen[name], order, outputs, inputs_read)) for name, module in modules.items()]
    hooks = hooked(before=[(module, watch.enter) for module in known], after=[*records, *((module, watch.leave) for module in known)])
    with hooks, torch.no_grad():
        samples = _observed(model, inputs, further, watch, [(module, seen[name]) for name, module in modules.items()])
    layers: dict[int, Layer] = {}
    places: dict[int, int] = {}
    for name, module in modules.items():
        for parameter, weight in _weights(module):
            path = f"{name}.{parameter}" if name else parameter
            if id(weight) in layers:
                known_layer = layers[id(weight)]
                layers[id(weight)] = replace(
                    known_layer,
                    aliases=(*known_layer.aliases, path),
                    macs=known_layer.macs + _macs(module, parameter, weight, seen[name], samples),
                    act_quantizable=False,
                )
            else:
                layers[id(weight)] = _layer(name, module, parameter, weight, seen, modules, samples)
                places[id(weight)] = seen[name].order
    _add_multiplied(model, watch, layers, places, samples)
    if not layers:
        raise ModelError("the model has nothing to quantize: its forward pass multiplies no parameter")
    ordered = [layers[key] for key in sorted(layers, key=places.__getitem__)]
    uncounted = [layers[key].name for key in layers if _hidden(watch, key, layers[key])]
    elsewhere = {layer.name for layer in ordered if _read_elsewhere(model, watch, layer)}
    kept = [by_row(model, layer) for layer in confirmed(model, ordered, inputs, further, _forward, elsewhere)]
    return Survey(
        layers=tuple(replace(layer, wide=needs_float32(model, layer), read_elsewhere=layer.name in elsewhere) for layer in kept),
        used={key: frozenset(names) for key, names in watch.used.items()},
        uncounted=tuple(uncounted),
        strangers=watch.strangers,
        added=frozenset(layer.name for layer in kept if (layer.norm or layer.module) in watch.added and _is_product(model, layer)),
        reads_with=_reading_together(model, kept, seen),
        products=frozenset(layer.name for layer in kept if _is_product(model, layer)),
    )


def _observed(
    model: nn.Module, inputs: Any, further: Callable[[], Iterable[Any]], watch: Watch, modules: list[tuple[nn.Module, _Seen]]
) -> int:
    """Run the model on as many batches as are needed; returns their samples."""
    samples = 0
    for batch in itertools.chain([inputs], further()):
        held = samples, [(seen.inputs, seen.outputs) for _, seen in modules]
        _forward(model, batch, watch)
        watch.forget_derived()
        samples += batch_size(batch)
        for _, seen in modules:
            seen.calls, seen.now = max(seen.calls, seen.now), 0
        alike = all(
            seen.inputs * held[0] == inputs * samples and seen.outputs * held[0] == outputs * samples
            for (_, seen), (inputs, outputs) in zip(modules, held[1], strict=True)
        )
        if held[0] and alike and all(seen.calls for module, seen in modules if not isinstance(module, BATCH_NORMS)):
            break
    return samples


def _add_multiplied(model: nn.Module, watch: Watch, layers: dict[int, Layer], places: dict[int, int], samples: int) -> None:
    """Add the parameters that the pass multiplies outside of the modules known by class, and their multiplications."""
    for name, module in model.named_modules():
        for parameter, weight in module.named_parameters(recurse=False, remove_duplicate=False):
            path = f"{name}.{parameter}".lstrip(".")
            products = watch.products.get(id(weight), [])
            if id(weight) not in layers and products:
                layers[id(weight)] = _multiplied(name, parameter, weight, products, samples)
                places[id(weight)] = products[0].order
            elif id(weight) in layers:
                known = layers[id(weight)]
                if path not in (f"{known.module}.{known.parameter}".lstrip("."), *known.aliases):
                    layers[id(weight)] = replace(known, aliases=(*known.aliases, path), act_quantizable=False)
    for key, products in watch.products.items():
        if key in layers and layers[key].axes is None:  # a module's weight, used without a call of the module
            layers[key] = replace(layers[key], macs=layers[key].macs + sum(product.macs or 0 for product in products) // samples)
            places[key] = min(places[key], products[0].order)


def _multiplied(name: str, parameter: str, weight: Tensor, products: list[Product], samples: int) -> Layer:
    first = products[0]
    return Layer(
        name=name if parameter == "weight" and name else f"{name}.{parameter}".lstrip("."),
        module=name,
        parameter=parameter,
        kind=first.operation,
        weight_shape=tuple(weight.shape),
        channels=math.prod(weight.shape[axis] for axis in first.axes),
        macs=sum(product.macs or 0 for product in products) // samples,
        input_elements=max(sum(product.inputs for product in products) // samples, 1),
        output_elements=max(sum(product.outputs for product in products) // samples, 1),
        act_quantizable=False,
        signed_input=False,
        bias_elements=0,
        axes=first.axes,
    )


def _read_elsewhere(model: nn.Module, watch: Watch, layer: Layer) -> bool:
    module = model.get_submodule(layer.module)
    return any(id(getattr(module, name, None)) in watch.outside for name in (layer.parameter, "bias"))


def _reading_together(model: nn.Module, layers: Iterable[Layer], seen: Mapping[str, _Seen]) -> dict[str, str]:
    """Layer → the first that reads the same tensor, of those that are called once and multiply it by their weight."""
    alone = {
        layer.module: layer for layer in layers if layer.module in seen and seen[layer.module].calls == 1 and _is_product(model, layer)
    }
    found: dict[str, str] = {}
    for module, layer in alone.items():
        if others := sorted((other for other in seen[module].beside if other in alone), key=lambda other: seen[other].order):
            found[layer.name] = alone[others[0]].name
    return found


def _is_product(model: nn.Module, layer: Layer) -> bool:
    return is_product(model.get_submodule(layer.module), layer)


def _hidden(watch: Watch, key: int, layer: Layer) -> bool:
    """Whether the pass multiplies by the weight in a way that is not counted."""
    return any(product.macs is None for product in watch.products.get(key, ())) or bool(watch.outside.get(key, set()) & FUSED)


def _forward(model: nn.Module, inputs: Any, watch: Watch | None = None) -> list[Tensor]:
    """The floating-point tensors that the model returns."""
    try:
        with modes_kept(model), watch or nullcontext():
            outputs = call(evaluating(model), inputs)
    except Exception as error:
        raise ModelError(f"the model's forward pass failed on a batch of the data: {type(error).__name__}: {error}") from error
    tensors = float_tensors(outputs)
    if not tensors:
        raise ModelError(f"the model returns no floating-point tensor ({described(outputs)}); let it return its scores or values")
    return tensors


def _record(
    name: str,
    seen: _Seen,
    order: Iterator[int],
    outputs: Outputs,
    inputs: Outputs,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    """Forward hook that adds one call of a module to its record."""
    first = first_input(args, kwargs)
    first = first.data if isinstance(first, PackedSequence) else first
    produced = output[0] if isinstance(output, tuple) else output
    produced = produced.data if isinstance(produced, PackedSequence) else produced
    seen.order = min(seen.order, next(order))
    seen.now += 1
    seen.floating = first.is_floating_point()
    seen.inputs += first.numel()
    seen.outputs += produced.numel()
    seen.negative = seen.negative or bool(seen.floating and (first < 0).any())
    if isinstance(module, (*_NORMALISED, *BATCH_NORMS)):
        outputs.add(produced, name)
    if type(module).forward is nn.Linear.forward or isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
        seen.beside = inputs.givers(first)
        inputs.add(first, name)
    if isinstance(module, nn.MultiheadAttention):
        key = args[1] if len(args) > 1 else kwargs.get("key", first)
        seen.query += first.numel() // module.embed_dim
        seen.keys += key.numel() // (module.kdim or module.embed_dim)
    if isinstance(module, BATCH_NORMS) and not seen.calls and seen.now == 1:
        seen.fed_by = outputs.givers(first)


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    names = ["weight"]
    if isinstance(module, nn.MultiheadAttention):
        names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]
    elif isinstance(module, RECURRENT):
        names = recurrent_weights(module)
    if isinstance(module, QUANTIZABLE):
        for name in names:
            weight = getattr(module, name, None)
            if isinstance(weight, Tensor):
                yield name, weight


def _layer(
    name: str, module: nn.Module, parameter: str, weight: Tensor, seen: dict[str, _Seen], modules: dict[str, nn.Module], samples: int
) -> Layer:
    own = seen[name]
    rows = Rows.of(module, weight)
    norm = ""
    if own.calls == 1 and isinstance(module, _NORMALISED):
        norm = next(
            (
                other
                for other, candidate in modules.items()
                if isinstance(candidate, BATCH_NORMS)
                and candidate.track_running_stats
                and candidate.num_features == rows.channels
                and seen[other].calls == 1
                and name in seen[other].fed_by
            ),
            "",
        )
    entering, leaving = own.inputs, own.outputs
    if isinstance(module, RECURRENT):  # of this matrix, at all steps
        steps = own.inputs // module.input_size
        entering, leaving = steps * weight.shape[1], steps * weight.shape[0]
    has_bias = parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor)
    return Layer(
        name=name if parameter == "weight" and name else (f"{name}.{parameter}" if name else parameter),
        module=name,
        parameter=parameter,
        kind=type(module).__name__,
        weight_shape=tuple(weight.shape),
        channels=rows.channels,
        macs=_macs(module, parameter, weight, _record_of(name, seen, modules), samples),
        input_elements=entering // samples,
        output_elements=leaving // samples,
        act_quantizable=own.calls > 0 and own.floating and parameter in ("weight", "in_proj_weight"),
        signed_input=own.negative,
        bias_elements=rows.channels if has_bias or norm else 0,
        norm=norm,
    )


def _record_of(name: str, seen: dict[str, _Seen], modules: dict[str, nn.Module]) -> _Seen:
    """Record of the module that runs the layer: attention applies its `out_proj` without calling it."""
    parent = name.rpartition(".")[0]
    return seen[parent] if parent in modules and isinstance(modules[parent], nn.MultiheadAttention) else seen[name]


def _macs(module: nn.Module, parameter: str, weight: Tensor, seen: _Seen, samples: int) -> int:
    per_position = weight[0].numel()
    if isinstance(module, _EMBEDDINGS):
        return 0
    if isinstance(module, _TRANSPOSED):
        return seen.inputs * per_position // samples
    if isinstance(module, RECURRENT):  # each matrix once at every step
        return seen.inputs // module.input_size * weight.numel() // samples
    if isinstance(module, nn.MultiheadAttention):
        if parameter == "in_proj_weight":
            return (seen.query + 2 * seen.keys) * weight.numel() // 3 // samples
        return (seen.query if parameter == "q_proj_weight" else seen.keys) * weight.numel() // samples
    if seen.query:  # the out_proj of an attention
        return seen.query * weight.numel() // samples
    return seen.outputs * per_position // samples
