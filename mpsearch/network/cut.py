"""`cuts_of`: networks of one layer each, cut out of a model: the layer's own module with the inputs that it gets there.

Where attention or a recurrent cell multiplies by several weights, the module that is called is cut out, and holds them all. A module that
is called several times is cut out once for each shape of its inputs. What a BatchNorm adds when it is folded, a bias, is added.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves, mapped
from mpsearch.network.batchnorm import owner_of
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.modes import evaluating, modes_kept
from mpsearch.network.observe import hooked
from mpsearch.network.trace import trace

__all__ = ["Cut", "cuts_of"]

_UNIT = "unit"
_READER = "reader"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A network that is cut out for a layer.

    Args:
        model: takes `inputs`, returns the output of the module, or of the reader behind it.
        inputs: a batch, as the model takes it.
        layers: of the cut, as traced.
        row: of the layer in `layers`.
        reader: row of the reader; None without one.
        calls: how often the network calls the module with inputs of these shapes.
        share: of the cut's multiplications that are the layer's; 1 if it holds no other layer.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    row: int
    reader: int | None
    calls: int
    share: float


@dataclass
class _Call:
    """A call of a module: tensors with an axis of samples, and all arguments with the numbers of those tensors in their place."""

    tensors: tuple[Tensor, ...]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    count: int = 1


class _Place:
    """Stands for a tensor among the arguments; no dataclass, inside which `mapped` would look."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class _Calls:
    """The calls of a module, by the shapes of their inputs."""

    found: dict[Any, _Call] = field(default_factory=dict)

    def keep(self, samples: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A hook before the module's forward."""
        tensors: list[Tensor] = []

        def placed(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dim() and len(value) == samples:
                tensors.append(value.detach().clone())
                return _Place(len(tensors) - 1)
            return value

        arguments = mapped((args, kwargs), placed)
        key = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
        if key in self.found:
            self.found[key].count += 1
        else:
            self.found[key] = _Call(tensors=tuple(tensors), arguments=arguments)


def cuts_of(
    model: nn.Module, inputs: Any, layers: Sequence[Layer], rounded: Mapping[str, bool]
) -> tuple[dict[str, tuple[Cut, ...]], dict[str, str]]:
    """The cuts of each layer: one for each module that multiplies by its weight and for each shape of inputs that this gets.

    Args:
        model: float network.
        inputs: one batch of two samples or more; a mask whose first axis is as long as the batch is taken for one of samples.
        layers: of the model.
        rounded: layers whose output something reads that rounds it and nothing else does → whether a ReLU stands between. Their cuts end in
            a reader, which takes one position of the output and so costs next to nothing. So a runtime that makes one operation of the
            layer and the rounding of its output can do so.

    Returns:
        Layer → its cuts; layer → why its module cannot be cut out.
    """
    modules = dict(model.named_modules())
    called: set[str] = set()
    _watch(model, modules, inputs, lambda path, *_: called.add(path))
    paths_of = {layer.name: {_unit_of(weight_path, called): weight_path for weight_path in _weight_paths(layer)} for layer in layers}
    calls = {path: _Calls() for units in paths_of.values() for path in units}
    samples = batch_size(inputs)
    needed = {path: modules[path] for path in calls}
    _watch(model, needed, inputs, lambda path, *made: calls[path].keep(samples, *made))
    found: dict[str, tuple[Cut, ...]] = {}
    reasons: dict[str, str] = {}
    for layer in layers:
        try:
            cuts = [
                _cut(modules[path], made, layer, weight_path.removeprefix(path).lstrip("."), rounded.get(layer.name))
                for path, weight_path in paths_of[layer.name].items()
                for made in calls[path].found.values()
            ]
        except ModelError as error:
            reasons[layer.name] = str(error)
            continue
        if cuts:
            found[layer.name] = tuple(cuts)
        else:
            reasons[layer.name] = "the network never calls its module"
    return found, reasons


def _weight_paths(layer: Layer) -> tuple[str, ...]:
    return (f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases)


def _unit_of(weight_path: str, called: set[str]) -> str:
    """The innermost module around a weight that is called: attention applies its `out_proj` without a call."""
    path = weight_path.rpartition(".")[0]
    while path and path not in called:
        path = path.rpartition(".")[0]
    return path


def _watch(model: nn.Module, modules: Mapping[str, nn.Module], inputs: Any, before: Callable[..., None]) -> None:
    """One pass in evaluation mode, with a hook before each module."""
    hooks = [(module, partial(before, path)) for path, module in modules.items()]
    with modes_kept(model), torch.no_grad(), hooked(before=hooks):
        call(evaluating(model), inputs)


def _cut(module: nn.Module, made: _Call, layer: Layer, weight: str, relu: bool | None) -> Cut:
    if not made.tensors:
        raise ModelError("its module gets no tensor whose first axis is that of samples")
    unit = evaluating(copy.deepcopy(module)).requires_grad_(False)
    own, name = owner_of(unit, weight)
    if layer.norm and getattr(own, "bias", None) is None:
        own.bias = nn.Parameter(torch.zeros(layer.channels, device=getattr(own, name).device), requires_grad=False)
    reader = None
    if relu is not None:
        args, kwargs = _filled(made, made.tensors)
        with torch.no_grad():
            reader = _reader_of(unit(*args, **kwargs))
    model = _network(unit, made, reader, bool(relu))
    layers = trace(model, made.tensors)
    rows = {f"{each.module}.{each.parameter}": row for row, each in enumerate(layers)}
    rows |= {alias: row for row, each in enumerate(layers) for alias in each.aliases}
    row = rows[f"{_UNIT}.{weight}"]
    at = rows.get(f"{_READER}.weight")
    others = sum(each.macs for index, each in enumerate(layers) if index not in (row, at))
    alone = all(index in (row, at) for index in range(len(layers)))
    share = 1.0 if alone else layers[row].macs / max(layers[row].macs + others, 1)
    return Cut(model=model, inputs=made.tensors, layers=layers, row=row, reader=at, calls=made.count, share=share)


def _filled(made: _Call, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = mapped(
        made.arguments, lambda value: tensors[value.number] if isinstance(value, _Place) else value
    )
    return arguments


def _reader_of(output: Any) -> nn.Module | None:
    """A layer that takes one position of an output `[N, C, …]` of convolutions, or all of `[N, …, C]` to one value each."""
    first = next(leaves(output))
    if not isinstance(first, Tensor) or first is not output:
        return None
    if first.dim() == 4:
        return nn.Conv2d(first.shape[1], 1, 1, stride=(first.shape[2], first.shape[3]), bias=False)
    if first.dim() in (2, 3):
        return nn.Linear(first.shape[-1], 1, bias=False)
    return None


def _network(unit: nn.Module, made: _Call, reader: nn.Module | None, relu: bool) -> nn.Module:
    """A module with a named argument for each tensor, as the exporter wants them."""

    def forward(self: Any, *tensors: Tensor, **named: Tensor) -> Any:
        args, kwargs = _filled(made, (*tensors, *named.values()))
        output = self.unit(*args, **kwargs)
        if self.reader is None:
            return output
        return self.reader(torch.relu(output) if relu else output)

    names = ["self", *(f"x{number}" for number in range(len(made.tensors)))]
    forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    network: Any = type("OneLayer", (nn.Module,), {"forward": forward})()
    network.unit, network.reader = unit, reader
    evaluated: nn.Module = network.eval().requires_grad_(False)
    return evaluated
