"""`confirmed`: the BatchNorms that can be folded without any change of a network's outputs, found without a second network.

While a pass runs, each layer gets its folded weight when its module is called and its own one back when the call returns, so that only one
folded weight exists at a time; the BatchNorm behind it returns its input.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import fold, folded
from mpsearch.network.observe import hooked

__all__ = ["confirmed", "folding", "keeps_outputs"]

_TOLERANCE = 1e-3
"""Largest difference, in standard deviations of an output."""
_SMALLEST_SPREAD = 1e-6

Forward = Callable[[nn.Module, Any], list[Tensor]]
"""(model, inputs) → its floating-point outputs."""


def confirmed(
    model: nn.Module,
    layers: Sequence[Layer],
    inputs: Any,
    further: Callable[[], Iterable[Any]],
    forward: Forward,
    elsewhere: Collection[str],
) -> tuple[Layer, ...]:
    """The layers, without the norms whose folding changes the outputs: on one batch and, where the outputs spread little there, on all.

    Args:
        model: not changed.
        layers: as traced.
        inputs: one batch.
        further: gives further batches, each time it is called.
        forward: runs the model.
        elsewhere: names of layers whose weight or bias is also read outside of calls of their module.
    """

    def exact(checked: list[Layer]) -> bool:
        copied = any(layer.name in elsewhere or _has_hooks(model.get_submodule(layer.norm)) for layer in checked)
        check = partial(keeps_outputs, model, layers=checked, forward=forward, copied=copied)
        return check([inputs]) or check(itertools.chain([inputs], further()))

    paired = [layer for layer in layers if layer.norm]
    if not paired or exact(paired):
        return tuple(layers)
    wrong = {layer.name for layer in paired if not exact([layer])}
    return tuple(
        replace(layer, norm="", bias_elements=layer.channels if _has_bias(model, layer) else 0) if layer.name in wrong else layer
        for layer in layers
    )


def _has_bias(model: nn.Module, layer: Layer) -> bool:
    return isinstance(getattr(model.get_submodule(layer.module), "bias", None), Tensor)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def keeps_outputs(model: nn.Module, batches: Iterable[Any], layers: Sequence[Layer], forward: Forward, *, copied: bool = False) -> bool:
    """Whether all outputs on the batches stay the same, to rounding, when the BatchNorms of the layers are folded.

    Args:
        model: not changed.
        batches: inputs.
        layers: each with a norm.
        forward: runs the model.
        copied: fold in a copy of the whole model, for a weight that is also read outside of calls of its module.
    """
    other = copy.deepcopy(model) if copied else model
    if copied:
        for layer in layers:
            fold(other, layer)
    before: list[list[Tensor]] = []
    after: list[list[Tensor]] = []
    for inputs in batches:
        before.append(forward(model, inputs))
        with nullcontext() if copied else folding(model, layers):
            after.append(forward(other, inputs))
    return all(_about_equal(list(one), list(two)) for one, two in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True))


@contextmanager
def folding(model: nn.Module, layers: Sequence[Layer]) -> Iterator[None]:
    """Let the model compute with the BatchNorms of the layers folded, for the `with` block; a pass calls each module once."""
    with ExitStack() as restored:
        before, after = [], []
        for layer in layers:
            module = model.get_submodule(layer.module)
            own = {name: getattr(module, name) for name in (layer.parameter, "bias")}
            restored.callback(_set, module, own)
            before.append((module, partial(_fold, model, layer)))
            after.append((module, partial(_restore, own)))
            norm = model.get_submodule(layer.norm)
            restored.callback(_give_back_forward, norm, norm.__dict__.get("forward"))
            norm.forward = _unchanged
        with hooked(before=before, after=after):
            yield


def _fold(model: nn.Module, layer: Layer, module: nn.Module, args: Any, kwargs: Any) -> None:
    weight, bias = folded(model, layer)
    _set(module, {layer.parameter: weight, "bias": bias})


def _restore(own: dict[str, Any], module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
    _set(module, own)


def _set(module: nn.Module, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(module, name, value)


def _give_back_forward(norm: nn.Module, own: Any) -> None:
    del norm.__dict__["forward"]
    if own is not None:
        norm.forward = own


def _unchanged(x: Tensor) -> Tensor:
    return x


def _about_equal(before: list[Tensor], after: list[Tensor]) -> bool:
    """Of one output over all batches."""
    if not sum(tensor.numel() for tensor in before):
        return True
    values = torch.cat([tensor.float().reshape(-1) for tensor in before])
    spread = float(values.std()) if values.numel() > 1 else 1.0
    apart = max(float((one - two).abs().max()) for one, two in zip(before, after, strict=True) if one.numel())
    return apart <= _TOLERANCE * max(spread, _SMALLEST_SPREAD)
