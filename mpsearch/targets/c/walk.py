"""`Walk`: a skeleton node by node → the steps of a C program. Operators are looked up by name in `mpsearch.targets.c.operators`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.targets.c.steps import Call, CFunction, Multiply, Operand, Quantize, Step
from mpsearch.targets.c.values import Bias, Buffer, Known, State, Value, Weight, elements, literal
from mpsearch.targets.marks import QUANTIZE
from mpsearch.targets.skeleton import Skeleton

if TYPE_CHECKING:
    import onnx

__all__ = ["PURPOSE", "Node", "Operator", "Program", "Walk", "walk"]

PURPOSE = "target 'c'"

_FLOAT = 1
"""Number of float32 among ONNX's types."""


@dataclass(frozen=True)
class Program:
    """A network as steps in C, whatever its numbers.

    Args:
        steps: in order.
        elements: of each buffer; buffer 0 is the network's input.
        outputs: buffers of the outputs.
        constants: floats of the architecture that the file holds beside those of the `state_dict`.
        states: names of the tensors in `floats`, in order.
    """

    steps: tuple[Step, ...]
    elements: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: tuple[float, ...]
    states: tuple[str, ...]


class Node:
    """A node of the skeleton: its operator, its inputs as values, its attributes."""

    def __init__(self, proto: onnx.NodeProto, inputs: Sequence[Value | None], after: str) -> None:
        from onnx.helper import get_attribute_value

        self.operator, self.name, self.names = proto.op_type, proto.output[0], list(proto.input)
        self.inputs = list(inputs)
        self._attributes: dict[str, Any] = {attribute.name: get_attribute_value(attribute) for attribute in proto.attribute}
        self._after = after

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, text decoded."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def input(self, index: int) -> Value | None:
        """An input; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def known(self, index: int, name: str, default: Any = None) -> Any:
        """An input, or the attribute that older versions have in its place, as an array; None if it is left out.

        Raises:
            ModelError: the program would have to compute it.
        """
        value = self.input(index)
        if value is None:
            given = self._attributes.get(name, default)
            return None if given is None else np.asarray(given)
        if not isinstance(value, Known):
            raise self.refused(f"its '{name}' depends on the input")
        return value.array

    def refused(self, why: str) -> ModelError:
        """The error of a node that no C function computes."""
        place = f"node '{self.name}'" + (f", after layer '{self._after}'" if self._after else ", before the first layer")
        return ModelError(f"{PURPOSE}: operator {self.operator} ({place}): {why}; change the model there, or use --target packed")


class Walk:
    """What operators build on: values by name, new buffers, steps.

    Args:
        skeleton: of the network.
        layers: as traced.
        sizes: shape of every tensor of the `state_dict`.
        sample: shape of one sample of the input, with its first axis of 1.
    """

    def __init__(self, skeleton: Skeleton, layers: Sequence[Layer], sizes: Mapping[str, tuple[int, ...]], sample: tuple[int, ...]) -> None:
        self.layers = layers
        self.steps: list[Step] = []
        self.elements: list[int] = [elements(sample)]
        self.states: list[str] = []
        self._readers = Counter(name for node in skeleton.nodes for name in node.input)
        self._readers.update(output.name for output in skeleton.outputs)
        self._constants: dict[bytes, int] = {}
        self._floats: list[float] = []
        self._values: dict[str, Value] = {name: Known(array) for name, array in skeleton.constants.items()}
        self._values[skeleton.inputs[0].name] = Buffer(0, sample)
        self._place_state(skeleton, sizes)

    def _place_state(self, skeleton: Skeleton, sizes: Mapping[str, tuple[int, ...]]) -> None:
        weights = {f"{layer.module}.{layer.parameter}".lstrip("."): number for number, layer in enumerate(self.layers)}
        weights |= {alias: number for number, layer in enumerate(self.layers) for alias in layer.aliases}
        biases = {f"{layer.module}.bias".lstrip("."): number for number, layer in enumerate(self.layers) if layer.bias_elements}
        offset, placed = 0, dict[str, State]()
        for name, full in skeleton.state.items():
            if full in weights:
                self._values[name] = Weight(weights[full], self.layers[weights[full]].weight_shape)
            elif full in biases:
                self._values[name] = Bias(biases[full], (self.layers[biases[full]].bias_elements,))
            else:
                if full not in placed:
                    placed[full] = State(offset, sizes[full])
                    offset += elements(sizes[full])
                self._values[name] = placed[full]
        self.states = list(placed)

    @property
    def constants(self) -> tuple[float, ...]:
        """Floats of the architecture in the file."""
        return tuple(self._floats)

    def value(self, name: str) -> Value | None:
        """The value of a name in the graph; None for "", an input that is left out."""
        return self._values[name] if name else None

    def read_once(self, name: str) -> bool:
        """Whether one node alone reads a tensor of the graph."""
        return self._readers[name] == 1

    def define(self, name: str, value: Value) -> None:
        """Give a name of the graph its value."""
        self._values[name] = value

    def new(self, shape: Sequence[int]) -> Buffer:
        """A new buffer."""
        self.elements.append(elements(tuple(shape)))
        return Buffer(len(self.elements) - 1, tuple(int(size) for size in shape))

    def operand(self, node: Node, value: Value | None) -> Operand:
        """Where a function reads a value.

        Raises:
            ModelError: it is a weight, or no float.
        """
        if isinstance(value, Buffer):
            return Operand(value.number)
        if isinstance(value, State):
            return Operand(-1, f"floats + {value.offset}")
        if isinstance(value, Known) and value.array.dtype in (np.float32, np.float64):
            data = np.ascontiguousarray(value.array, dtype=np.float32)
            if data.size == 1:
                return Operand(-1, f"&(const float){{{literal(data.item())}}}")
            if data.tobytes() not in self._constants:
                self._constants[data.tobytes()] = len(self._floats)
                self._floats += data.reshape(-1).tolist()
            return Operand(-1, f"constants + {self._constants[data.tobytes()]}")
        if isinstance(value, Weight | Bias):
            name = self.layers[value.layer].name
            raise node.refused(f"it reads the weight or bias of layer '{name}', which only a convolution or a matrix product may")
        raise node.refused("an input is missing" if value is None else "an input is not float32")

    def call(
        self,
        node: Node,
        shape: Sequence[int],
        text: str,
        reads: Sequence[Value | None],
        functions: Sequence[CFunction] = (),
        *,
        in_place: bool = False,
    ) -> Buffer:
        """Add a step that computes a new buffer from values."""
        operands = tuple(self.operand(node, value) for value in reads)
        made = self.new(shape)
        self.steps.append(
            Call(text=text, reads=operands, writes=made.number, functions=tuple(functions), in_place=in_place, note=node.operator)
        )
        return made


Operator = Callable[[Walk, Node], Value | Sequence[Value]]
"""Adds the steps of a node; returns its outputs."""


def walk(
    skeleton: Skeleton,
    layers: Sequence[Layer],
    sizes: Mapping[str, tuple[int, ...]],
    sample: tuple[int, ...],
    operators: Mapping[str, Operator],
) -> Program:
    """The program of a skeleton.

    Args:
        skeleton: of the network.
        layers: as traced.
        sizes: shape of every tensor of the `state_dict`.
        sample: shape of one sample of the input, with its first axis of 1.
        operators: by name.

    Raises:
        ModelError: an operator, an input or an output that no C function computes; one line that names it.
    """
    if len(skeleton.inputs) != 1 or skeleton.inputs[0].dtype != _FLOAT:
        raise ModelError(f"{PURPOSE}: the network reads {len(skeleton.inputs)} inputs or other numbers than float32; use --target packed")
    walked, after = Walk(skeleton, layers, sizes, sample), ""
    for proto in skeleton.nodes:
        node = Node(proto, [walked.value(name) for name in proto.input], after)
        if node.operator == QUANTIZE:
            number = int(node.attribute("layer", 0))
            walked.define(proto.output[0], _quantized(walked, node, number))
            after = layers[number].name
            continue
        made: Value | Sequence[Value] | None = _folded(proto, node)
        if made is None:
            if node.operator not in operators:
                raise node.refused("there is no C function for it")
            made = operators[node.operator](walked, node)
        values: Sequence[Value] = made if isinstance(made, Sequence) else [made]
        for name, value in zip(proto.output, values, strict=False):
            walked.define(name, value)
    outputs = [_output(walked, walked.value(output.name), output.name) for output in skeleton.outputs]
    return Program(
        steps=_told_apart(walked.steps, outputs),
        elements=tuple(walked.elements),
        outputs=tuple(outputs),
        constants=walked.constants,
        states=tuple(walked.states),
    )


def _quantized(walked: Walk, node: Node, layer: int) -> Value:
    value = node.inputs[0]
    if not isinstance(value, Buffer):
        raise node.refused("the input of a layer does not depend on the network's input")
    made = walked.new(value.shape)
    walked.steps.append(Quantize(layer=layer, reads=value.number, writes=made.number, elements=elements(value.shape)))
    return made


def _folded(proto: onnx.NodeProto, node: Node) -> list[Value] | None:
    """The outputs of a node that depend on no input of the network; None if they do."""
    if node.operator == "Shape" and isinstance(node.inputs[0], Buffer | State):
        shape = node.inputs[0].shape[node.attribute("start", 0) : node.attribute("end", None)]
        return [Known(np.array(shape, dtype=np.int64))]
    given = {name: value for name, value in zip(proto.input, node.inputs, strict=True) if name}
    if not all(isinstance(value, Known) for value in given.values()):
        return None
    from onnx.reference import ReferenceEvaluator

    feeds = {name: value.array for name, value in given.items() if isinstance(value, Known)}
    return [Known(np.asarray(array)) for array in ReferenceEvaluator(proto).run(None, feeds)]


def _output(walked: Walk, value: Value | None, name: str) -> int:
    if not isinstance(value, Buffer):
        raise ModelError(f"{PURPOSE}: the output '{name}' does not depend on the input; use --target packed")
    return value.number


def _told_apart(steps: Sequence[Step], outputs: Sequence[int]) -> tuple[Step, ...]:
    """Quantizers whose output something else than the layer's own multiplication reads give floats."""
    readers: dict[int, set[int]] = {}
    for step in steps:
        if isinstance(step, Multiply):
            readers.setdefault(step.reads, set()).add(step.layer)
        elif isinstance(step, Quantize):
            readers.setdefault(step.reads, set()).add(-1)
        else:
            for operand in step.reads:
                readers.setdefault(operand.buffer, set()).add(-1)
    for number in outputs:
        readers.setdefault(number, set()).add(-1)
    return tuple(
        replace(step, for_layer=readers.get(step.writes) == {step.layer}) if isinstance(step, Quantize) else step for step in steps
    )
