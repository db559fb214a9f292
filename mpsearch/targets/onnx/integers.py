"""What a layer that multiplies integers adds to the graph, see `mpsearch.network.integer_sums`: codes of inputs and weights, and the scale.

before the network's nodes:  integers of the weight;  S = scales · (step · unit)
in place of its input's mark:  Clip(Round(x · 1/step))
in place of its sums' mark:  Round(sums) · S + bias
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, QuantizedInput
from mpsearch.network.integer_sums import along_channels
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid
from mpsearch.targets.onnx import unpacking
from mpsearch.targets.onnx.sections import Initializer, Section, before_shape, counted, in_shape, new_node, stored_codes, stored_numbers

if TYPE_CHECKING:
    import onnx

__all__ = ["biased_section", "codes_section", "integers_section", "scaled_section"]


def integers_section(name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: CodedWeight | None) -> Section:
    """The weight's integers, under `name`, and under `…S` what multiplies the sums; arguments as for `sections.weight_section`."""
    arranged, unit = unpacking.arrangement(layer, rows), format.integer_unit or 1.0
    section, unpacked, zero = stored_codes(name, layer, rows, arranged, format, weight, unit=unit)
    out, halves = before_shape(name, arranged), format.kind == "half_step"
    section += counted(name, arranged.shape, unpacked, zero, f"{name}m" if halves else out)
    if halves:
        section += Section(nodes=(new_node("Mul", [f"{name}m", unpacking.number_name(2.0)], out),))
    section += stored_numbers(f"{name}s", along_channels(layer, rows.count), None if weight is None else weight.scales, half=not layer.wide)
    return section + in_shape(name, arranged) + Section(nodes=(new_node("Mul", [f"{name}s", f"{name}As"], f"{name}S"),))


def codes_section(name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None, unit: float) -> Section:
    """The codes of a layer's inputs; arguments as for `sections.input_section`. The step is stored times `unit`, which the sums need."""
    grid = act_grid(format.bits, input is not None and input.signed)
    ends = [unpacking.number_name(grid.lo), unpacking.number_name(grid.hi)]
    step = reciprocal = None
    if input is not None:
        step, reciprocal = (input.step.float() * unit).numpy(), input.step.float().reciprocal().numpy()
    nodes: list[onnx.NodeProto] = []
    for number, (before, after) in enumerate(edges):
        own = f"{name}{number}"
        nodes += [
            new_node("Mul", [before, f"{name}r"], f"{own}a"),
            new_node("Round", [f"{own}a"], f"{own}b"),
            new_node("Clip", [f"{own}b", *ends], after),
        ]
    return Section((Initializer(f"{name}r", "float32", (), reciprocal), Initializer(f"{name}s", "float32", (), step)), tuple(nodes))


def scaled_section(name: str, sums: Sequence[tuple[str, str]], *, biased: bool) -> Section:
    """What follows sums of integers. `Round` changes nothing there, and keeps runtimes from multiplying the scale into the weight.

    Args:
        name: of the layer's weight.
        sums: name before and after, for each call.
        biased: whether the layer has a bias.
    """
    nodes: list[onnx.NodeProto] = []
    for number, (before, after) in enumerate(sums):
        own = f"{name}T{number}"
        nodes += [new_node("Round", [before], f"{own}a"), new_node("Mul", [f"{own}a", f"{name}S"], f"{own}b" if biased else after)]
        if biased:
            nodes.append(new_node("Add", [f"{own}b", f"{name}B"], after))
    return Section(nodes=tuple(nodes))


def biased_section(name: str, sums: Sequence[tuple[str, str]], *, biased: bool) -> Section:
    """What follows sums of values; arguments as for `scaled_section`."""
    if biased:
        return Section(nodes=tuple(new_node("Add", [before, f"{name}B"], after) for before, after in sums))
    return Section(nodes=tuple(new_node("Identity", [before], after) for before, after in sums if not after.startswith("V")))
