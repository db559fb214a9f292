"""`filled`: the skeleton of a network with its numbers and with nodes of a format's own where something is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.nested import mapped
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, install
from mpsearch.network.inputs import batch_size, call, samples_of
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.marks import QUANTIZE
from mpsearch.targets.onnx.runtime import RuntimeModel
from mpsearch.targets.skeleton import OPSET, Skeleton, Value
from mpsearch.tasks.outputs import most_samples_differ_by

if TYPE_CHECKING:
    import onnx

__all__ = ["Added", "check_computes", "filled", "of_every_weight", "places_of"]

Array = NDArray[Any]
Added = tuple[list["onnx.NodeProto"], dict[str, Array]]
"""Nodes and initializers by name."""

_IR_VERSION = 10
_ROUNDING = 1e-4


def places_of(blueprint: Blueprint) -> dict[str, tuple[int, bool]]:
    """Name in the `state_dict` → (number of the layer, whether it is the bias)."""
    found: dict[str, tuple[int, bool]] = {}
    for number, layer in enumerate(blueprint.layers):
        found |= dict.fromkeys([f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases], (number, False))
        if layer.bias_elements:
            found[f"{layer.module}.bias".lstrip(".")] = (number, True)
    return found


def of_every_weight(blueprint: Blueprint, layer: Layer, coded: CodedWeight, by_row: Tensor) -> Array:
    """Numbers of the rows `[R]` as the weight's shape has them; axes along which they are the same have length 1."""
    rows = Rows.of_layer(blueprint.architecture, layer, coded.format.granularity)
    spread = rows.join(by_row.float().unsqueeze(1).expand(-1, coded.codes.shape[1]).contiguous()).contiguous().numpy()
    for axis in range(spread.ndim):
        first = spread.take([0], axis)
        spread = first if (spread == first).all() else spread
    return spread


def filled(
    skeleton: Skeleton,
    blueprint: Blueprint,
    parts: Parts,
    weight: Callable[[str, Layer, CodedWeight, Array], Added],
    input: Callable[[str, str, int, QuantizedInput], Added],
    domains: Mapping[str, int],
    batch: int | str = "batch",
) -> onnx.ModelProto:
    """The network as an ONNX model.

    Args:
        skeleton: of the network.
        blueprint: of the network.
        parts: its numbers.
        weight: of a quantized weight: name of the value, layer, codes, float32 values → what gives the value.
        input: of a quantized input: name of the value, name of the quantized one, number of the layer, levels → what gives the latter.
        domains: of the nodes' operators, with their versions.
        batch: size or name of the batch axis.
    """
    import onnx
    from onnx import helper

    baked = [parts.layers[layer.name] for layer in blueprint.layers]
    places, numbers, nodes = places_of(blueprint), dict(skeleton.constants), list[onnx.NodeProto]()
    for name, full in skeleton.state.items():
        if full not in places:
            numbers[name] = parts.rest[full].numpy()
            continue
        number, is_bias = places[full]
        layer, each = blueprint.layers[number], baked[number]
        if is_bias:
            numbers[name] = _bias(each)
        elif isinstance(each.weight, FloatWeight):
            numbers[name] = each.weight.values.numpy()
        else:
            rows = Rows.of_layer(blueprint.architecture, layer, each.weight_format.granularity)
            added, more = weight(name, layer, each.weight, rows.join(each.weight.values()).contiguous().numpy())
            nodes, numbers = [*nodes, *added], {**numbers, **more}
    renamed: dict[str, str] = {}
    for node in skeleton.nodes:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [renamed.get(name, name) for name in node.input]
        if node.op_type != QUANTIZE:
            nodes.append(copied)
            continue
        number = node.attribute[0].i
        levels = baked[number].input
        if levels is None:
            renamed[node.output[0]] = copied.input[0]
        else:
            added, more = input(copied.input[0], node.output[0], number, levels)
            nodes, numbers = [*nodes, *added], {**numbers, **more}
    outputs = [value.name for value in skeleton.outputs]
    nodes += [helper.make_node("Identity", [renamed[name]], [name]) for name in outputs if name in renamed]
    graph = helper.make_graph(
        nodes,
        "network",
        [_info(value, batch) for value in skeleton.inputs],
        [_info(value, batch) for value in skeleton.outputs],
        [onnx.numpy_helper.from_array(np.array(array, order="C"), name) for name, array in numbers.items()],
    )
    versions = {"": OPSET, **domains}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION, producer_name="mpsearch")


def check_computes(model: onnx.ModelProto, skeleton: Skeleton, blueprint: Blueprint, parts: Parts, name: str) -> None:
    """Compare a model of standard operators in ONNX Runtime with the network, on one sample.

    Raises:
        ModelError: it computes something else.
    """
    one = mapped(samples_of(blueprint.inputs, slice(0, 1), batch_size(blueprint.inputs)), _on_cpu)
    with torch.no_grad():
        expected = call(install(blueprint.architecture, blueprint.layers, parts).cpu(), one)
        found = call(RuntimeModel(model.SerializeToString(), tuple(value.name for value in skeleton.inputs), skeleton.structure, {}), one)
    differ = most_samples_differ_by(found, expected)
    if differ > _ROUNDING:
        raise ModelError(f"'{name}' computes outputs that differ by {differ:.1g} of the largest from those of the scored network")


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _bias(baked: BakedLayer) -> Array:
    bias = baked.bias
    assert bias is not None
    array: Array = (bias.numbers() if isinstance(bias, StoredNumbers) else bias).numpy()
    return array


def _info(value: Value, batch: int | str) -> onnx.ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(value.name, value.dtype, [batch if axis == "batch" else axis for axis in value.shape])
