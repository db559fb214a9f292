"""`GraphWriter`: writes the ONNX files of one network; how a weight and a rounding look in the graph is for the target to say."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from mpsearch.core.files import write_bytes
from mpsearch.core.layer import Layer
from mpsearch.core.nested import mapped
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, rest_of_state
from mpsearch.network.integer_sums import along_channels, multiplies_integers
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import spelled, without_formats
from mpsearch.targets.marks import QUANTIZE, ROUND, SCALE
from mpsearch.targets.onnx import layout
from mpsearch.targets.onnx.integers import biased_section, codes_section, integers_section, scaled_section
from mpsearch.targets.onnx.sections import Digits, Initializer, Section, bias_section, new_node, varint_bytes
from mpsearch.targets.roundings import rounded_outputs
from mpsearch.targets.skeleton import OPSET, Skeleton, skeleton_of

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphWriter", "fill"]

_MARKS = (QUANTIZE, ROUND, SCALE)

_JUMP = 5
"""Bytes by which a length and those around it may grow, and the producer's name."""


class GraphWriter(Writer):
    """Base class of the writers of ONNX files.

    Args:
        blueprint: of the network.

    Raises:
        ModelError: the network cannot be exported.
        ConfigError: packages of the extra `onnx` are missing.
    """

    target: ClassVar[str]
    """Name of the target, for messages."""
    version: ClassVar[str]
    """Value of the metadata key `format`."""
    opset: int = OPSET
    """Version of the standard operators."""
    ir_version: int = layout.IR_VERSION
    integers: ClassVar[bool] = False
    """Whether layers multiply integers as `mpsearch.network.integer_sums` says."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self._numbers = {layer.name: number for number, layer in enumerate(blueprint.layers)}
        self._layer_name = layout.numbered("W", len(blueprint.layers))
        skeleton = skeleton_of(
            blueprint, f"target '{self.target}'", sums=self.integers and blueprint.quantizes_inputs, opset=min(self.opset, OPSET)
        )
        names = _names(skeleton, blueprint, self._layer_name)
        self._constants = tuple(
            Initializer(names[name], value.dtype.name, value.shape, value) for name, value in skeleton.constants.items()
        )
        self._rest = {full: names[name] for name, full in skeleton.state.items() if names[name].startswith("R")}
        self._inputs = [(names[value.name], value) for value in skeleton.inputs]
        self._outputs = [(names[value.name], value) for value in skeleton.outputs]
        self._structure = mapped(skeleton.structure, lambda name: names[name])
        self._nodes = [_renamed(node, names) for node in skeleton.nodes]
        self._edges, self._sums, self._outcomes = self._marked(QUANTIZE), self._marked(SCALE), self._marked(ROUND)
        found = rounded_outputs(skeleton, blueprint.layers)
        self._rounded = {self._numbers[name]: replace(each, bounded=names.get(each.bounded, each.bounded)) for name, each in found.items()}

    @abstractmethod
    def weight(
        self, name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None, *, fuses: bool
    ) -> Section:
        """The weight of a layer, under `name`.

        Args:
            name: in the graph.
            layer: as traced.
            rows: layout of the weight.
            format: as stored.
            weight: its numbers; None: bytes alone.
            fuses: whether a runtime may multiply integers.
        """

    def bias(self, name: str, layer: Layer, bias: StoredNumbers | Tensor | None) -> Section:
        """The bias of a layer, under `name`; None: bytes alone."""
        return bias_section(name, layer, bias)

    @abstractmethod
    def rounding(self, name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None) -> Section:
        """The rounding of a layer's inputs, or outputs, in nodes one after the other for each edge (name before, name after)."""

    @abstractmethod
    def shared(self, digits: Sequence[Digits]) -> Section:
        """What layers share: constants, and the nodes that unpack the digits of all layers."""

    @property
    @abstractmethod
    def growing_lengths(self) -> int:
        """Lengths in `shared` that grow with the layers' sections."""

    def fuses(self, number: int, parts: Parts) -> bool:
        """Whether a runtime may multiply integers in a layer, given all numbers."""
        return False

    def unbounded(self, parts: Parts) -> frozenset[str]:
        """Names of what bounded ReLUs give that may be plain ones, given all numbers."""
        return frozenset()

    def settings(self, parts: Parts | None) -> Mapping[str, str]:
        """Further metadata, such as settings of the runtime, of the same length for all numbers; None: for any."""
        return {}

    @property
    def shares_weights(self) -> bool:
        """Whether several operators read one weight."""
        weights = {self._layer_name(number) for number in self._numbers.values()}
        read = [name for node in self._nodes for name in node.input if name in weights]
        return len(read) > len(set(read))

    def _marked(self, kind: str) -> dict[int, list[tuple[str, str]]]:
        """Number of each layer → names before and after its nodes of this kind."""
        found: dict[int, list[tuple[str, str]]] = {}
        for node in self._nodes:
            if node.op_type == kind:
                found.setdefault(node.attribute[0].i, []).append((node.input[0], node.output[0]))
        return found

    @cached_property
    def overhead_bytes(self) -> int:
        """Everything but the layers' sections, where every length that may grow with them takes as many bytes as it ever can."""
        metadata = {**self._metadata(without_formats(self.blueprint), None), "digest": "0" * 32, "pad": ""}
        rest = self._rest_values(self.blueprint.architecture.state_dict())
        model = self._model(Section(), self._without_marks, rest, metadata)
        lengths = 1 + self.growing_lengths  # one is that of the graph; blanks fill up
        most = varint_bytes(8 * sum(layer.weights for layer in self.blueprint.layers) + _bytes(model))
        return _bytes(model) + lengths * (min(most, 4) - 1)

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Planes, scales, bias, the nodes that unpack them and those that round the input."""
        sections = (self._sections(self._numbers[layer.name], layer, weight, activation, None, fuses) for fuses in (False, True))
        return max(before.bytes() + within.bytes() for before, within in sections)

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically."""
        before, within, size = Section(), Section(), self.overhead_bytes
        for number, layer in enumerate(self.blueprint.layers):
            baked = parts.layers[layer.name]
            format = FLOAT if baked.input is None else baked.input.format
            sections = self._sections(number, layer, baked.weight_format, format, baked, self.fuses(number, parts))
            before, within = before + sections[0], within + sections[1]
            size += self.layer_bytes(layer, baked.weight_format, format)
        metadata = self._metadata(spelled(self.blueprint, parts), parts)
        section = Section(before.initializers + within.initializers, before.nodes, before.digits)
        model = self._model(section, self._with_marks_as(within.nodes, self.unbounded(parts)), self._rest_values(parts.rest), metadata)
        _describe(model, {"digest": layout.file_digest(metadata, model.graph), "pad": ""})
        fill(model, size)
        return write_bytes(path, model.SerializeToString(deterministic=True)).stat().st_size

    def _rows(self, layer: Layer, format: NumberFormat) -> Rows:
        return Rows.of_layer(self.blueprint.architecture, layer, format.granularity)

    def _sections(
        self, number: int, layer: Layer, weight: NumberFormat, input: NumberFormat, baked: BakedLayer | None, fuses: bool
    ) -> tuple[Section, Section]:
        """What a layer adds before the network's nodes, and in place of its marks; `baked`: its numbers, None for bytes alone."""
        name, rows = self._layer_name(number), self._rows(layer, weight)
        levels = None if baked is None else baked.input
        edges, sums = self._edges.get(number, []), self._sums.get(number, [])
        module = self.blueprint.architecture.get_submodule(layer.module)
        if sums and multiplies_integers(module, layer, weight, input):
            coded = baked.weight if baked is not None and isinstance(baked.weight, CodedWeight) else None
            before = integers_section(name, layer, rows, weight, coded)
            within = codes_section(f"{name}A", edges, input, levels, weight.integer_unit or 1.0)
            within += scaled_section(name, sums, biased=bool(layer.bias_elements))
        else:
            before = self.weight(name, layer, rows, weight, None if baked is None else baked.weight, fuses=fuses and not input.is_float)
            within = self.rounding(f"{name}A", edges, input, levels) if edges else Section()
            within += biased_section(name, sums, biased=bool(layer.bias_elements))
        if outcomes := self._outcomes.get(number, []):
            within += self.rounding(f"{name}O", outcomes, layer.output_format(weight, input), None if baked is None else baked.output)
        if layer.bias_elements:
            bias = None if baked is None else baked.bias
            before += (
                bias_section(f"{name}B", layer, bias, shape=along_channels(layer, layer.bias_elements))
                if sums
                else self.bias(f"{name}B", layer, bias)
            )
        return before, within

    def _rest_values(self, state: Mapping[str, Tensor]) -> list[Initializer]:
        found = []
        for full, name in self._rest.items():
            value = state[full].detach().cpu().numpy()
            found.append(Initializer(name, value.dtype.name, value.shape, value))
        return found

    def _metadata(self, description: Mapping[str, str], parts: Parts | None) -> dict[str, str]:
        outputs = json.dumps(self._structure, separators=(",", ":"))
        return {"format": self.version, **description, **self.settings(parts), "outputs": outputs}

    @property
    def _without_marks(self) -> list[onnx.NodeProto]:
        return [node for node in self._nodes if node.op_type not in _MARKS]

    def _with_marks_as(self, nodes: Sequence[onnx.NodeProto], unbounded: Collection[str]) -> list[onnx.NodeProto]:
        """The network's nodes with these in place of the marks: for each the nodes that end in its output, or none.

        Args:
            nodes: in place of marks.
            unbounded: what bounded ReLUs give that may be plain ones, since what follows has no larger values.
        """
        ends = {node.output[0] for node in self._nodes if node.op_type in _MARKS}
        instead: dict[str, list[onnx.NodeProto]] = {}
        waiting: list[onnx.NodeProto] = []
        for node in nodes:
            waiting.append(node)
            if node.output[0] in ends:
                instead[node.output[0]], waiting = waiting, []
        replaced: dict[str, str] = {}
        placed: list[onnx.NodeProto] = []
        for node in self._nodes:
            node = _renamed(node, replaced, outputs=False)
            if node.output[0] in unbounded:
                placed.append(new_node("Relu", node.input[:1], node.output[0]))
            elif node.output[0] not in ends:
                placed.append(node)
            elif node.output[0] in instead:
                first = instead[node.output[0]][0]
                first.input[0] = node.input[0]
                placed += instead[node.output[0]]
            else:
                replaced[node.output[0]] = node.input[0]
        return placed

    def _model(
        self, section: Section, nodes: list[onnx.NodeProto], rest: list[Initializer], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """The whole file: what a section adds, and the network's nodes."""
        import onnx
        from onnx import helper

        shared = self.shared(section.digits)
        graph = onnx.GraphProto(name="g")
        graph.node.extend(shared.nodes)
        graph.node.extend((*section.nodes, *nodes))
        graph.initializer.extend(each.proto() for each in (*shared.initializers, *self._constants, *rest, *section.initializers))
        graph.input.extend(helper.make_tensor_value_info(name, value.dtype, value.shape) for name, value in self._inputs)
        graph.output.extend(helper.make_tensor_value_info(name, value.dtype, value.shape) for name, value in self._outputs)
        model = onnx.ModelProto(ir_version=self.ir_version, opset_import=[helper.make_opsetid("", self.opset)], graph=graph)
        _describe(model, metadata)
        return model


def _bytes(model: onnx.ModelProto) -> int:
    size: int = model.ByteSize()
    return size


def fill(model: onnx.ModelProto, size: int) -> None:
    """Lengthen the last entry of the metadata, and where its own lengths jump over the size name a producer, which takes three bytes."""
    room = size - _bytes(model)
    for producer in ("", "m"):
        if producer:
            model.producer_name = producer
        for blanks in range(room, room - _JUMP - 1, -1):
            model.metadata_props[-1].value = " " * max(blanks, 0)
            if _bytes(model) == size:
                return
    raise AssertionError(f"a graph of {size - room} bytes cannot be filled up to {size}")


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
