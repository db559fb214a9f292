"""`OnnxWriter`: writes the ONNX files of one network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mpsearch.core.files import write_bytes
from mpsearch.core.layer import Layer
from mpsearch.core.nested import mapped
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.network.baked import Parts, rest_of_state
from mpsearch.numbers.channels import Rows
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import spelled, without_formats
from mpsearch.targets.onnx import layout, unpacking
from mpsearch.targets.onnx.sections import (
    Digits,
    Initializer,
    Section,
    bias_section,
    input_section,
    varint_bytes,
    weight_section,
)
from mpsearch.targets.skeleton import OPSET, QUANTIZE, Skeleton, skeleton_of

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxWriter"]


class OnnxWriter(Writer):
    """Writes the ONNX files of one network.

    Args:
        blueprint: of the network.

    Raises:
        ModelError: the network cannot be exported.
        ConfigError: packages of the extra `onnx` are missing.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self._numbers = {layer.name: number for number, layer in enumerate(blueprint.layers)}
        self._layer_name = layout.numbered("W", len(blueprint.layers))
        skeleton = skeleton_of(blueprint, "target 'onnx'")
        names = _names(skeleton, blueprint, self._layer_name)
        self._constants = tuple(
            Initializer(names[name], value.dtype.name, value.shape, value) for name, value in skeleton.constants.items()
        )
        self._rest = {full: names[name] for name, full in skeleton.state.items() if names[name].startswith("R")}
        self._inputs = [(names[value.name], value) for value in skeleton.inputs]
        self._outputs = [(names[value.name], value) for value in skeleton.outputs]
        self._structure = mapped(skeleton.structure, lambda name: names[name])
        self._edges: dict[int, list[tuple[str, str]]] = {}
        self._nodes: list[onnx.NodeProto] = []
        for node in skeleton.nodes:
            renamed = _renamed(node, names)
            self._nodes.append(renamed)
            if node.op_type == QUANTIZE:
                self._edges.setdefault(node.attribute[0].i, []).append((renamed.input[0], renamed.output[0]))

    @cached_property
    def overhead_bytes(self) -> int:
        """Everything but the layers' sections, where every length that may grow with them takes as many bytes as it ever can."""
        metadata = {**self._metadata(without_formats(self.blueprint)), "digest": "0" * 32, "pad": ""}
        rest = self._rest_values(self.blueprint.architecture.state_dict())
        model = self._model(Section(), self._without_marks, rest, metadata)
        # Lengths that may grow: of the graph; of two tensors a base, their contents and axes; of the node that splits. Blanks fill up.
        lengths = 1 + 7 * len(unpacking.bases_of(self.blueprint.formats))
        most = varint_bytes(8 * sum(layer.weights for layer in self.blueprint.layers) + _bytes(model))
        return _bytes(model) + lengths * (min(most, 4) - 1)

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Planes, scales, bias, the nodes that unpack them and those that round the input."""
        return self._weight_bytes(layer, weight) + self._input_bytes(layer, activation)

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically."""
        weights, inputs, size = Section(), Section(), self.overhead_bytes
        for number, layer in enumerate(self.blueprint.layers):
            baked, name = parts.layers[layer.name], self._layer_name(number)
            section = weight_section(name, layer, self._rows(layer, baked.weight_format), baked.weight_format, baked.weight)
            if layer.bias_elements:
                section += bias_section(f"{name}B", layer, baked.bias)
            rounding = input_section(
                f"{name}A", self._edges.get(number, []), FLOAT if baked.input is None else baked.input.format, baked.input
            )
            weights, inputs, size = weights + section, inputs + rounding, size + section.bytes() + rounding.bytes()
        metadata = self._metadata(spelled(self.blueprint, parts))
        section = Section(weights.initializers + inputs.initializers, weights.nodes, weights.digits)
        model = self._model(section, self._with_roundings(inputs), self._rest_values(parts.rest), metadata)
        _describe(model, {"digest": layout.file_digest(metadata, model.graph), "pad": ""})
        model.metadata_props[-1].value = " " * (size - _bytes(model))
        return write_bytes(path, model.SerializeToString(deterministic=True)).stat().st_size

    def _rows(self, layer: Layer, format: NumberFormat) -> Rows:
        return Rows.of_layer(self.blueprint.architecture, layer, format.granularity)

    def _weight_bytes(self, layer: Layer, format: NumberFormat) -> int:
        name = self._layer_name(self._numbers[layer.name])
        section = weight_section(name, layer, self._rows(layer, format), format, None)
        if layer.bias_elements:
            section += bias_section(f"{name}B", layer, None)
        return section.bytes()

    def _input_bytes(self, layer: Layer, format: NumberFormat) -> int:
        number = self._numbers[layer.name]
        if number not in self._edges:
            return 0
        return input_section(f"{self._layer_name(number)}A", self._edges[number], format, None).bytes()

    def _rest_values(self, state: Mapping[str, Tensor]) -> list[Initializer]:
        found = []
        for full, name in self._rest.items():
            value = state[full].detach().cpu().numpy()
            found.append(Initializer(name, value.dtype.name, value.shape, value))
        return found

    def _metadata(self, description: Mapping[str, str]) -> dict[str, str]:
        return {"format": layout.VERSION, **description, "outputs": json.dumps(self._structure, separators=(",", ":"))}

    @property
    def _without_marks(self) -> list[onnx.NodeProto]:
        return [node for node in self._nodes if node.op_type != QUANTIZE]

    def _with_roundings(self, inputs: Section) -> list[onnx.NodeProto]:
        """The network's nodes, with what rounds an input in place of its mark."""
        ends = {node.output[0]: index for index, node in enumerate(inputs.nodes)}
        replaced: dict[str, str] = {}
        placed: list[onnx.NodeProto] = []
        for node in self._nodes:
            node = _renamed(node, replaced, outputs=False)
            if node.op_type != QUANTIZE:
                placed.append(node)
            elif node.output[0] in ends:
                last = ends[node.output[0]]
                rounding = inputs.nodes[last - 3 : last + 1] if inputs.nodes[last].op_type == "Mul" else inputs.nodes[last : last + 1]
                rounding[0].input[0] = node.input[0]
                placed += rounding
            else:
                replaced[node.output[0]] = node.input[0]
        return placed

    def _model(
        self, section: Section, nodes: list[onnx.NodeProto], rest: list[Initializer], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """The whole file: what a section adds, and the network's nodes."""
        import onnx
        from onnx import helper

        shared = unpacking.constants(self.blueprint.formats, activations=self.blueprint.quantizes_inputs)
        held = [Initializer(name, value.dtype.name, value.shape, value) for name, value in shared.items()]
        graph = onnx.GraphProto(name="g")
        for base in unpacking.bases_of(self.blueprint.formats):
            digits = [each for each in section.digits if each.base == base]
            held += _stream(base, digits)
            graph.node.extend(unpacking.unpacking_nodes(base, [each.name for each in digits]))
        graph.node.extend((*section.nodes, *nodes))
        graph.initializer.extend(each.proto() for each in (*held, *self._constants, *rest, *section.initializers))
        graph.input.extend(helper.make_tensor_value_info(name, value.dtype, value.shape) for name, value in self._inputs)
        graph.output.extend(helper.make_tensor_value_info(name, value.dtype, value.shape) for name, value in self._outputs)
        model = onnx.ModelProto(ir_version=layout.IR_VERSION, opset_import=[helper.make_opsetid("", OPSET)], graph=graph)
        _describe(model, metadata)
        return model


def _stream(base: int, digits: list[Digits]) -> list[Initializer]:
    """All digits of a base, and how many each layer has; the bytes are those that layers need one by one, and one more."""
    size = 1 + sum(unpacking.packed_bytes(each.count, base) for each in digits)
    data = np.concatenate([np.zeros(0, dtype=np.uint8), *(each.data for each in digits if each.data is not None)])
    counts = [each.count for each in digits]
    counts.append(size * unpacking.Plane(base, 1).per_byte - sum(counts))
    name = unpacking.stream_name(base)
    return [
        Initializer(name, "uint8", (size, 1), unpacking.pack(data, base, size)[:, None]),
        Initializer(f"{name}z", "int64", (len(counts),), np.array(counts)),
    ]


def _bytes(model: onnx.ModelProto) -> int:
    size: int = model.ByteSize()
    return size


def _describe(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)


def _names(skeleton: Skeleton, blueprint: Blueprint, layer_name: Any) -> dict[str, str]:
    """Name in the skeleton → name in the file."""
    weights: dict[str, str] = {}
    for number, layer in enumerate(blueprint.layers):
        weights[f"{layer.module}.{layer.parameter}".lstrip(".")] = layer_name(number)
        weights |= dict.fromkeys(layer.aliases, layer_name(number))
        if layer.bias_elements:
            weights[f"{layer.module}.bias".lstrip(".")] = f"{layer_name(number)}B"
    rest = rest_of_state(blueprint.architecture, blueprint.layers)
    rest_name, constant_name = layout.numbered("R", len(rest)), layout.numbered("C", len(skeleton.constants))
    names = {name: weights[full] if full in weights else rest_name(rest.index(full)) for name, full in skeleton.state.items()}
    names |= {name: constant_name(number) for number, name in enumerate(skeleton.constants)}
    names |= {value.name: layout.own_name(value.name) for value in skeleton.inputs}
    structure = layout.output_names(skeleton.structure)
    named: list[str] = []
    mapped(structure, lambda name: named.append(name))
    names |= {value.name: name for value, name in zip(skeleton.outputs, named, strict=True)}
    values = [name for node in skeleton.nodes for name in node.output if name and name not in names]
    value_name = layout.numbered("V", len(values))
    return names | {name: value_name(number) for number, name in enumerate(values)}


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], *, outputs: bool = True) -> onnx.NodeProto:
    import onnx

    renamed = onnx.NodeProto()
    renamed.CopyFrom(node)
    renamed.input[:] = [names.get(name, name) for name in node.input]
    if outputs:
        renamed.output[:] = [names.get(name, name) for name in node.output]
    return renamed
