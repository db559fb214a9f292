"""`Skeleton`: a network as an ONNX graph without numbers, traced once; targets for other runtimes put the numbers of an allocation in.

The architecture, its BatchNorms folded away as `install` does, is exported by `torch.onnx.export`. Every tensor of its `state_dict` is an
input of the graph, so nothing computed from a parameter is folded, and the graph is the same for every allocation and every training. A
layer's input passes through a node `QuantizeInput` that names the layer, an output that is rounded through `RoundOutput`. On request the
output of a layer that may multiply integers passes through a node `ScaleSums`, which has the layer's bias as its second input.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import transformer

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.extras import needs
from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves, mapped
from mpsearch.core.number_format import FLOAT
from mpsearch.network.baked import BakedLayer, FloatWeight, Parts, install, rest_of_state
from mpsearch.network.inputs import batch_size, call, samples_of
from mpsearch.network.integer_sums import is_product, scale_sums
from mpsearch.network.quantizers import attach_act_quantizer, attach_output_quantizer
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.marks import QUANTIZE, ROUND, Mark, MarkSums

if TYPE_CHECKING:
    import onnx
    import onnx_ir

__all__ = ["OLDEST_OPSET", "OPSET", "Skeleton", "Value", "skeleton_of"]

OPSET, OLDEST_OPSET = 20, 18
"""Version of the standard operators unless an older one is asked for, and the oldest that `torch.onnx.export` writes by itself."""

_SAMPLES = 2
"""Of the traced batch; 1 would be taken for a constant."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """An input or an output of a graph.

    Args:
        name: in the graph.
        dtype: number of ONNX's type, such as 1 for float32.
        shape: sizes, or names of sizes that are free.
    """

    name: str
    dtype: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A network without numbers.

    Args:
        nodes: in order of computation.
        constants: of the architecture, by name in the graph: shapes, axes, buffers outside the `state_dict`.
        state: name in the graph → name in the `state_dict` of the architecture (its first, where a tensor has several).
        inputs: in the order of the leaves of a batch.
        outputs: in the order of the leaves of what the network returns.
        structure: what the network returns, with names of outputs in place of tensors.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, np.ndarray[Any, Any]]
    state: Mapping[str, str]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    structure: Any


def skeleton_of(blueprint: Blueprint, purpose: str, *, sums: bool = False, opset: int = OPSET) -> Skeleton:
    """Trace a network with a free batch size.

    Args:
        blueprint: network, layers, inputs.
        purpose: who asks, for messages, such as `"target 'onnx'"`.
        sums: whether there are nodes `ScaleSums`.
        opset: version of the standard operators.

    Raises:
        ModelError: the exporter cannot trace the network.
        ConfigError: the packages of the extra `onnx` are not installed.
    """
    needs(purpose, "onnx", "onnx", "onnx_ir", "onnxscript")
    inputs = samples_of(blueprint.inputs, slice(0, _SAMPLES), batch_size(blueprint.inputs))
    shapes = tuple((tuple(leaf.shape), str(leaf.dtype)) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves(inputs))
    known = _TRACED.setdefault(blueprint.architecture, {})
    key = (blueprint.layers, shapes, sums, opset)
    if key not in known:
        model = _with_placeholders(blueprint, sums=sums)
        program = _exported(model, inputs, purpose, opset)
        with torch.no_grad():
            outputs = _structure(call(blueprint.architecture, inputs))
        known[key] = _without_numbers(program, model, outputs, purpose, opset)
    return known[key]


_TRACED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], Skeleton]] = WeakKeyDictionary()
"""A network is traced once, however many targets and menus ask; it is forgotten with the network."""


def _with_placeholders(blueprint: Blueprint, *, sums: bool) -> nn.Module:
    """The architecture as a file describes it: BatchNorms folded, inputs and sums of layers marked; its numbers do not matter."""
    architecture, layers = blueprint.architecture, blueprint.layers
    state = architecture.state_dict()
    weights = {layer.name: getattr(architecture.get_submodule(layer.module), layer.parameter) for layer in layers}
    baked = {layer.name: _any_numbers(layer, weights[layer.name]) for layer in layers}
    rest = {name: state[name] for name in rest_of_state(architecture, layers)}
    model = install(architecture, layers, Parts(layers=baked, rest=rest)).cpu()
    for number, layer in enumerate(layers):
        if layer.act_quantizable:
            module = model.get_submodule(layer.module)
            attach_act_quantizer(module, Mark(number, QUANTIZE))  # type: ignore[arg-type]
            if sums and is_product(module, layer):
                placeholder = MarkSums(number, module.bias)  # type: ignore[arg-type]
                module.bias = None  # type: ignore[assignment]
                scale_sums(module, placeholder)
            if layer.rounds_output:
                attach_output_quantizer(module, Mark(number, ROUND))  # type: ignore[arg-type]
    return model


def _any_numbers(layer: Layer, weight: Tensor) -> BakedLayer:
    bias = StoredNumbers(values=torch.zeros(layer.bias_elements)) if layer.bias_elements else None
    return BakedLayer(choice=Choice(FLOAT), weight=FloatWeight(values=weight.detach().float().clone()), bias=bias)


def _wrapped(model: nn.Module) -> nn.Module:
    """The network inside a module with the same arguments, since a traced module takes no attribute that it has itself, such as `code`."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.network(*args, **kwargs)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    taken = inspect.signature(model.forward).parameters.values()
    forward.__signature__ = inspect.Signature([own, *taken])  # type: ignore[attr-defined]
    wrapper = type("Wrapped", (nn.Module,), {"forward": forward})()
    wrapper.network = model
    wrapped: nn.Module = wrapper.eval()
    return wrapped


def _exported(model: nn.Module, inputs: Any, purpose: str, opset: int) -> onnx_ir.Model:
    inputs = mapped(inputs, lambda value: value.cpu() if isinstance(value, Tensor) else value)
    samples = batch_size(inputs)
    shapes = mapped(inputs, lambda value: _free(value, samples))
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple | list) else (inputs,), None)
    if not isinstance(inputs, dict):
        shapes = tuple(shapes) if isinstance(shapes, tuple | list) else (shapes,)
    try:
        with _silence(), _masks_as_given():
            program: Any = torch.onnx.export(
                _wrapped(model),
                tuple(args),
                kwargs=kwargs,
                dynamo=True,
                dynamic_shapes=shapes,
                optimize=False,
                verbose=False,
                opset_version=opset,
                external_data=False,
            )
    except Exception as error:  # anything at all, from tracer, decompositions and translator
        raise ModelError(
            f"{purpose}: torch.onnx.export cannot trace the network with a free batch size ({_cause(error)}); use --target packed"
        ) from error
    found: onnx_ir.Model = program.model
    return found


def _free(value: Any, samples: int) -> Any:
    if isinstance(value, Tensor) and value.dim() and len(value) == samples:
        return {0: "batch"}
    return None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter logs, warns and prints about itself."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def _masks_as_given() -> Iterator[None]:
    """`nn.TransformerEncoder` looks into a mask to find out whether it is causal, which no trace can; it computes the same without."""
    previous = transformer._detect_is_causal_mask

    def not_looked_at(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
        return bool(is_causal)

    transformer._detect_is_causal_mask = not_looked_at
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = previous


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first:.200}" if first else type(error).__name__


def _structure(outputs: Any) -> Any:
    """The outputs with True in place of tensors; dataclasses and dicts as dicts without their empty entries."""
    if isinstance(outputs, Tensor):
        return True
    if isinstance(outputs, Mapping) or hasattr(outputs, "__dataclass_fields__"):
        items = outputs.items() if isinstance(outputs, Mapping) else vars(outputs).items()
        return {str(key): _structure(value) for key, value in items if value is not None}
    if isinstance(outputs, tuple | list):
        return [_structure(value) for value in outputs]
    raise ModelError(f"the model returns {type(outputs).__name__} beside tensors, which no graph can return")


def _without_numbers(model: onnx_ir.Model, module: nn.Module, outputs: Any, purpose: str, opset: int) -> Skeleton:
    import onnx
    import onnx_ir
    from onnxscript import optimizer

    graph = model.graph
    given = {str(value.name) for value in graph.inputs}
    first_names: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        first_names.setdefault(id(tensor), name)
    first = {f"network.{name}": _of_layer(first_names[id(tensor)]) for name, tensor in module.state_dict(keep_vars=True).items()}
    state: dict[str, str] = {}
    for name in [name for name in graph.initializers if name in first]:
        value = graph.initializers.pop(name)
        graph.inputs.append(value)
        value.const_value = None
        state[name] = first[name]
    with _silence():
        optimizer.optimize_ir(model, onnx_shape_inference=False)
    if model.functions:
        raise ModelError(f"{purpose}: the exported graph calls functions ({next(iter(model.functions))[1]}); use --target packed")
    proto = onnx_ir.to_proto(model).graph
    names = iter([value.name for value in proto.output])
    used = {name for node in proto.node for name in node.input}
    return Skeleton(
        nodes=tuple(_cleaned(node, opset) for node in proto.node),
        constants={tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.initializer},
        state={name: full for name, full in state.items() if name in used},
        inputs=tuple(_value(value) for value in proto.input if value.name in given),
        outputs=tuple(_value(value) for value in proto.output),
        structure=mapped(outputs, lambda _: next(names)),
    )


def _of_layer(name: str) -> str:
    """The name of a bias without that of the module that holds it where sums are marked."""
    path, _, tensor = name.rpartition(".")
    return f"{path.removesuffix('output_scaling')}{tensor}" if path.endswith("output_scaling") else name


def _value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    return Value(name=info.name, dtype=tensor.elem_type, shape=tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim))


def _cleaned(node: onnx.NodeProto, opset: int) -> onnx.NodeProto:
    """A node without name, notes and attributes that say what holds without them."""
    import onnx

    schema = None if node.domain else onnx.defs.get_schema(node.op_type, opset)
    cleaned = onnx.NodeProto(op_type=node.op_type, domain=node.domain, input=node.input, output=node.output)
    for attribute in node.attribute:
        default = _default(schema, attribute)
        if default is not None and onnx.helper.get_attribute_value(default) == onnx.helper.get_attribute_value(attribute):
            continue
        if attribute.name in _ONES and set(attribute.ints) == {1}:
            continue
        kept = cleaned.attribute.add()
        kept.CopyFrom(attribute)
        kept.ClearField("doc_string")
    return cleaned


def _default(schema: onnx.defs.OpSchema | None, attribute: onnx.AttributeProto) -> onnx.AttributeProto | None:
    if schema is None or attribute.name not in schema.attributes:
        return None
    default: onnx.AttributeProto = schema.attributes[attribute.name].default_value
    return default if default.type == attribute.type else None


_ONES = ("strides", "dilations")
"""Attributes that are ones along every axis where they are missing."""
