"""`trace`: the quantizable layers of a model, from one forward pass with hooks.

No graph is captured, so `forward` may have control flow. A BatchNorm belongs to a convolution or linear layer if its input is that
layer's output tensor, both are called once, and folding it does not change the network's outputs.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import BATCH_NORMS, fold, needs_float32
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.modes import evaluating, modes_kept
from mpsearch.network.observe import first_input, hooked
from mpsearch.numbers.channels import Rows
from mpsearch.tasks.outputs import described, float_tensors

__all__ = ["QUANTIZABLE", "trace"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
QUANTIZABLE = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, *_EMBEDDINGS, nn.MultiheadAttention)
"""Modules whose weights are quantized; subclasses too."""


@dataclass
class _Seen:
    """What hooks record of one module."""

    calls: int = 0
    inputs: int = 0
    outputs: int = 0
    query: int = 0
    keys: int = 0
    order: int = 10**9
    negative: bool = False
    floating: bool = False
    output: Tensor | None = None
    inputs_kept: list[Tensor] = field(default_factory=list)


def trace(model: nn.Module, inputs: Any) -> tuple[Layer, ...]:
    """Layers in forward order; modules that were not called come last.

    Args:
        model: any module; its parameters, buffers and mode are not changed.
        inputs: one batch; a larger batch makes the observed sign of each activation more reliable.

    Returns:
        One `Layer` per weight. A tensor used by several modules is one layer (`aliases`).

    Raises:
        ModelError: the forward pass fails, or nothing can be quantized.
    """
    classes = QUANTIZABLE + BATCH_NORMS
    modules: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if isinstance(module, classes)}
    if not any(isinstance(module, QUANTIZABLE) for module in modules.values()):
        raise ModelError("the model has nothing to quantize: no convolution, linear, embedding or attention weight was found")
    seen = {name: _Seen() for name in modules}
    samples = batch_size(inputs)
    order = itertools.count()
    with hooked(after=[(module, partial(_record, seen[name], order)) for name, module in modules.items()]), torch.no_grad():
        _forward(model, inputs)
    layers: dict[int, Layer] = {}
    for name, module in modules.items():
        for parameter, weight in _weights(module):
            path = f"{name}.{parameter}" if name else parameter
            if id(weight) in layers:
                known = layers[id(weight)]
                layers[id(weight)] = replace(
                    known,
                    aliases=(*known.aliases, path),
                    macs=known.macs + _macs(module, parameter, weight, seen[name], samples),
                    act_quantizable=False,
                )
            else:
                layers[id(weight)] = _layer(name, module, parameter, weight, seen, modules, samples)
    ordered = sorted(layers.values(), key=lambda layer: seen[layer.module].order)
    confirmed = _confirmed(model, inputs, tuple(ordered), seen)
    return tuple(replace(layer, wide=True) if needs_float32(model, layer) else layer for layer in confirmed)


def _forward(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The floating-point tensors that the model returns."""
    try:
        with modes_kept(model):
            outputs = call(evaluating(model), inputs)
    except Exception as error:
        raise ModelError(f"the model's forward pass failed on a batch of the data: {type(error).__name__}: {error}") from error
    tensors = float_tensors(outputs)
    if not tensors:
        raise ModelError(f"the model returns no floating-point tensor ({described(outputs)}); let it return its scores or values")
    return tensors


def _record(seen: _Seen, order: Iterator[int], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    """Forward hook that adds one call of a module to its record."""
    first = first_input(args, kwargs)
    produced = output[0] if isinstance(output, tuple) else output
    seen.order = min(seen.order, next(order))
    seen.calls += 1
    seen.floating = first.is_floating_point()
    seen.inputs += first.numel()
    seen.outputs += produced.numel()
    seen.negative |= bool(seen.floating and (first < 0).any())
    seen.output = produced
    if isinstance(module, nn.MultiheadAttention):
        key = args[1] if len(args) > 1 else kwargs.get("key", first)
        seen.query += first.numel() // module.embed_dim
        seen.keys += key.numel() // (module.kdim or module.embed_dim)
    if isinstance(module, BATCH_NORMS):
        seen.inputs_kept.append(first)


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    names = (
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight") if isinstance(module, nn.MultiheadAttention) else ("weight",)
    )
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
    if own.calls == 1 and isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)):
        norm = next(
            (
                other
                for other, candidate in modules.items()
                if isinstance(candidate, BATCH_NORMS)
                and candidate.track_running_stats
                and candidate.num_features == rows.channels
                and seen[other].calls == 1
                and seen[other].inputs_kept[0] is own.output
            ),
            "",
        )
    has_bias = parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor)
    return Layer(
        name=name if parameter == "weight" and name else (f"{name}.{parameter}" if name else parameter),
        module=name,
        parameter=parameter,
        kind=type(module).__name__,
        weight_shape=tuple(weight.shape),
        channels=rows.channels,
        macs=_macs(module, parameter, weight, _record_of(name, seen, modules), samples),
        input_elements=own.inputs // samples,
        output_elements=own.outputs // samples,
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
    if isinstance(module, nn.MultiheadAttention):
        if parameter == "in_proj_weight":
            return (seen.query + 2 * seen.keys) * weight.numel() // 3 // samples
        return (seen.query if parameter == "q_proj_weight" else seen.keys) * weight.numel() // samples
    if seen.query:  # the out_proj of an attention
        return seen.query * weight.numel() // samples
    return seen.outputs * per_position // samples


def _confirmed(model: nn.Module, inputs: Any, layers: tuple[Layer, ...], seen: dict[str, _Seen]) -> tuple[Layer, ...]:
    """Keep only the BatchNorms whose folding does not change the outputs."""
    paired = [layer for layer in layers if layer.norm]
    if not paired or _folding_is_exact(model, inputs, paired):
        return layers
    wrong = {layer.name for layer in paired if not _folding_is_exact(model, inputs, [layer])}
    return tuple(
        replace(layer, norm="", bias_elements=layer.channels if _has_bias(model, layer) else 0) if layer.name in wrong else layer
        for layer in layers
    )


def _has_bias(model: nn.Module, layer: Layer) -> bool:
    return isinstance(getattr(model.get_submodule(layer.module), "bias", None), Tensor)


def _folding_is_exact(model: nn.Module, inputs: Any, layers: list[Layer]) -> bool:
    with torch.no_grad():
        before = _forward(model, inputs)
        folded = copy.deepcopy(model)
        for layer in layers:
            fold(folded, layer)
        after = _forward(folded, inputs)
    return all(_about_equal(a, b) for a, b in zip(before, after, strict=True))


def _about_equal(before: Tensor, after: Tensor) -> bool:
    spread = float(before.float().std()) if before.numel() > 1 else 1.0
    return not before.numel() or bool((before - after).abs().max() <= 1e-3 * max(spread, 1e-6))
