"""The delivered network: coverage, number formats, granularity, cost, hardware contract (sections C, D, E, K, L).

All of it is read off the delivered numbers and off one forward pass of the network that holds them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import nn

from mpsearch.card.arithmetic import accumulator_bits, asymmetry_bits, bops_with_additions, mean_bits, peak_live_bits
from mpsearch.card.flips import amounts, end_layers
from mpsearch.card.schema import na
from mpsearch.card.sections import CostSection, CoverageSection, FormatSection, GranularitySection, HardwareSection
from mpsearch.card.stored_numbers import code_names, family, stored_numbers, zero_exact
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.summary import Summary
from mpsearch.core.unquantized import covered_share
from mpsearch.costs.latency_profile import LatencyProfile
from mpsearch.network.baked import CodedWeight, Parts, QuantizedInput, install
from mpsearch.network.inputs import to_device
from mpsearch.network.walk import Walk, walk
from mpsearch.numbers.channels import Rows
from mpsearch.trials.problem import Problem

__all__ = ["Deployed"]

_JOINS = {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "cat", "stack"}
_NORMS = {"native_batch_norm", "native_layer_norm", "native_group_norm", "_softmax", "_log_softmax", "mean", "sum", "amax"}
_HALF_STEP = 0.5


class Deployed:
    """The delivered network and one traced forward pass.

    Args:
        problem: the float network and its layers.
        parts: the delivered numbers.
    """

    def __init__(self, problem: Problem, parts: Parts) -> None:
        self.problem = problem
        self.parts = parts
        self.layers = problem.space.layers
        self.allocation = parts.allocation
        self.network = install(problem.model, self.layers, parts, integers=False)
        batch, _ = next(iter(problem.train.take(min(2, len(problem.train)), problem.seed).batches(2)))
        self.walk: Walk = walk(self.network, self.layers, to_device(batch, problem.device))
        self.ends = end_layers(self.layers)
        self.inputs = [baked.input for baked in parts.layers.values() if baked.input is not None]
        self.codes = {
            layer.name: stored_numbers(self.network, layer, stored)
            for layer in self.layers
            if isinstance(stored := parts.layers[layer.name].weight, CodedWeight)
        }

    @property
    def quantizes_inputs(self) -> bool:
        """Whether any layer's input is quantized."""
        return any(choice.activation.bits != FLOAT_BITS for choice in self.allocation.values())

    def edits(self) -> str:
        """How the delivered architecture differs from the float one: modules of another type, new biases."""
        before = dict(self.problem.model.named_modules())
        pairs = [(before[name], module) for name, module in self.network.named_modules() if name in before]
        changed = Counter(f"{type(old).__name__} to {type(new).__name__}" for old, new in pairs if type(old) is not type(new))
        biased = sum(getattr(new, "bias", None) is not None and getattr(old, "bias", None) is None for old, new in pairs)
        found = [f"{count} {what}" for what, count in sorted(changed.items())]
        return "; ".join([*found, f"{biased} layers with a bias they did not have"] if biased else found) or "none"

    def coverage(self) -> CoverageSection:
        """Section C."""
        return CoverageSection(
            scope="weights and layer inputs" if self.quantizes_inputs else "weights only",
            ends=self._ends_rule(),
            first_layer=self._end(self.ends[0]),
            last_layer=self._end(self.ends[-1]),
            tensors=self._tensors(),
            float_ops=self._float_ops() or na("none"),
            parameters=covered_share(self.layers, self.problem.space.unquantized),
            stays_float={
                group.reason: {"tensors": group.tensors, "bytes": group.bytes, "largest": ", ".join(group.largest)}
                for group in self.problem.space.unquantized
            }
            or na("nothing"),
        )

    def formats(self, codes_by: str) -> FormatSection:
        """Section D; `codes_by` names what chose the codes, such as `trained by lsq`."""
        found = list(self.codes.values())
        uniform = all(codes.uniform for codes in found)
        wide = sum(layer.wide for layer in self.layers)
        weights = {
            "family": family(found) if found else na(),
            "symmetric": all(abs(codes.shift) <= _HALF_STEP for codes in found),  # a zero point would shift by whole steps
            "zero_exact": zero_exact(found),
            "narrow": not any(codes.lowest_used for codes in found) if uniform else na("not uniform"),
            "codes": code_names(found),
            "scale": "float16 times a power of two" + (f"; float32 in {wide} layers of large biases" if wide else ""),
            "rounding": f"to the nearest value{', half to even' if uniform else ''}; codes {codes_by}",
            "saturating": True,
        }
        powers = [input for input in self.inputs if _is_power(input)]
        activations = {
            "family": "power of two" if powers else "uniform",
            "symmetric": True if all(input.signed for input in self.inputs) else "where negative",
            "zero_exact": "not where negative" if any(input.signed for input in powers) else "yes",
            "narrow": na("not uniform") if powers else False,
            "scale": "float32",
            "rounding": "nearest logarithm" if powers else "nearest, half to even",
            "saturating": True,
        }
        folded = any(layer.norm and not layer.wide for layer in self.layers)
        unfolded = any(layer.bias_elements and (layer.wide or not layer.norm) for layer in self.layers)
        biases = [name for name, there in (("float16 where a BatchNorm is folded in", folded), ("float32", unfolded)) if there]
        return FormatSection(
            weights=weights if found else {"family": "float32", "symmetric": na()},
            activations=activations if self.inputs else na("activations are float32"),
            biases=", else ".join(biases) if biases else na("no biases"),
        )

    def granularity(self) -> GranularitySection:
        """Section E."""
        scales = [baked.weight.scales.values for baked in self.parts.layers.values() if isinstance(baked.weight, CodedWeight)]
        stored = [*scales, *(input.step for input in self.inputs)]
        return GranularitySection(
            weights="per output channel",
            activations="per tensor" if self.inputs else na("activations are float32"),
            scales=sum(tensor.numel() for tensor in stored),
            scale_bytes=sum(tensor.numel() * tensor.element_size() for tensor in stored),
        )

    def costs(self, summary: Summary) -> CostSection:
        """Section K."""
        layers, maps = self.layers, self.walk.maps
        weights = [layer.weights for layer in layers]
        bits, acts = [self._weight_bits(layer) for layer in layers], [self.allocation[layer.name].activation.bits for layer in layers]
        taken = amounts(layers, self.allocation)
        without = mean_bits(weights, bits, without=self.ends)
        sizes = [seen.elements * seen.bits for seen in maps]
        return CostSection(
            file_bytes=summary.artifact_bytes,
            weight_bytes=int(taken["weight_bytes"]),
            mean_weight_bits=mean_bits(weights, bits),
            mean_weight_bits_without_ends=na("no layer but the first and the last") if math.isnan(without) else without,
            mean_input_bits=self.allocation.mean_act_bits(layers) if self.quantizes_inputs else na("activations are float32"),
            mean_activation_bytes=sum(sizes) / len(sizes) / 8,
            peak_activation_bytes=max(sizes) / 8,
            peak_live_bytes=peak_live_bits(sizes, [seen.born for seen in maps], [seen.last for seen in maps]) / 8,
            bops=int(taken["bops"]),
            bops_with_additions=bops_with_additions([layer.macs for layer in layers], bits, acts, [_row_length(layer) for layer in layers]),
            scale_bytes=self.granularity().scale_bytes,
            symmetric_weight_cost_bits=self._symmetry_cost(),
            latency=self._latency(summary),
            energy=na("no energy model"),
        )

    def hardware(self) -> HardwareSection:
        """Section L."""
        pairs = {(choice.weight.bits, choice.activation.bits) for choice in self.allocation.values()}
        corrected = any(codes.shift for codes in self.codes.values())
        powers = any(map(_is_power, self.inputs))
        uniform = all(codes.uniform for codes in self.codes.values()) and not powers
        integer = [
            accumulator_bits(choice.weight.bits, choice.activation.bits, _row_length(layer))
            for layer, choice in zip(self.layers, self.allocation.values(), strict=True)
            if FLOAT_BITS not in (choice.weight.bits, choice.activation.bits) and self.codes[layer.name].uniform and not powers
        ]
        by_base = any(codes.kind == "multibit" for codes in self.codes.values())
        inputs = {"float32" if baked.input is None else _input_datatype(baked.input) for baked in self.parts.layers.values()}
        ties = any(len(group) > 1 for group in self.problem.space.groups)
        return HardwareSection(
            datatypes={
                "weights": sorted({self._datatype(layer) for layer in self.layers}),
                "layer inputs": sorted(inputs),
                "weight scales": ["float16"] if self.codes else [],
            },
            zero_point_correction=corrected,
            zero_point="values sit half a step above the codes of some layers, which adds ½ · scale · Σx at each output"
            if corrected
            else "none needed",
            accumulator_bits=max(integer) if integer else na("no layer multiplies integers by integers"),
            requantization=f"one multiplication by a scale per {'sign plane and ' if by_base else ''}output channel"
            if self.codes
            else na("weights are float32"),
            grouping="tied layers share a pair of bits" if ties else "none; any layer may take any pair on its menu",
            runtimes=_runtimes(pairs, corrected, uniform=uniform),
        )

    def _datatype(self, layer: Layer) -> str:
        codes = self.codes.get(layer.name)
        if codes is None:
            return "float32"
        return f"int{codes.bits}" if codes.uniform else f"{codes.bits} bits, {family([codes])}"

    def _weight_bits(self, layer: Layer) -> int:
        return self.allocation[layer.name].weight.bits

    def _ends_rule(self) -> str:
        """Whether the space treats the first and the last layer differently; what the search chose for them does not matter."""
        menus = self.problem.space.menus
        lowest = [min(choice.weight.bits for choice in menu) for menu in menus]
        rest = [bits for index, bits in enumerate(lowest) if index not in self.ends]
        if rest and min(rest) < min(lowest[index] for index in self.ends) >= 8:
            return "at 8 bits or more by rule"
        return "included"

    def _end(self, index: int) -> dict[str, Any]:
        layer = self.layers[index]
        choice = self.allocation[layer.name]
        return {"name": layer.name, "weight_bits": _spelled([choice.weight.bits]), "input_bits": _spelled([choice.activation.bits])}

    def _tensors(self) -> dict[str, dict[str, Any]]:
        names = {operation.name for operation in self.walk.operations}
        found: dict[str, list[int]] = {}
        for layer in self.layers:
            found.setdefault(f"weights, {_kind(self.problem.model, layer)}", []).append(self._weight_bits(layer))
        found["layer inputs"] = [self.allocation[layer.name].activation.bits for layer in self.layers if layer.input_elements]
        found["network input"] = [seen.bits for seen in self.walk.maps if seen.born < 0]
        tensors = {
            name: {"quantized": any(b != FLOAT_BITS for b in bits), "bits": _spelled(bits) or na("no float tensor")}
            for name, bits in found.items()
        }
        half = any(layer.norm and not layer.wide for layer in self.layers)
        stays = {
            "biases": ("float16 or float32" if half else "float32") if any(layer.bias_elements for layer in self.layers) else "",
            "residual sums and other joins": "float32" if names & _JOINS else "",
            "pooling, softmax, normalisation": "float32" if any(name in _NORMS or "pool" in name for name in names) else "",
            "accumulators": "float32, simulated",
        }
        return tensors | {name: {"quantized": False, "bits": bits or na("none in this network")} for name, bits in stays.items()}

    def _float_ops(self) -> dict[str, dict[str, Any]]:
        operations = self.walk.operations
        weight_bits = {layer.name: layer.weights * self._weight_bits(layer) for layer in self.layers if layer.macs}
        macs = sum(operation.macs for operation in operations) or 1
        moved = sum(operation.bits_moved + weight_bits.get(operation.layer, 0) for operation in operations) or 1
        found: dict[str, dict[str, Any]] = {}
        for operation in operations:
            choice = self.allocation.get(operation.layer)
            if choice is not None and FLOAT_BITS not in (choice.weight.bits, choice.activation.bits):
                continue
            entry = found.setdefault(operation.name.strip("_"), {"calls": 0, "share_of_macs": 0.0, "share_of_bytes": 0.0})
            entry["calls"] += 1
            entry["share_of_macs"] += operation.macs / macs
            entry["share_of_bytes"] += (operation.bits_moved + weight_bits.get(operation.layer, 0)) / moved
        return found

    def _latency(self, summary: Summary) -> Any:
        """Measured where it was, else the cost and where that comes from."""
        table, inputs = self.problem.costs.get("latency"), self.problem.cost_inputs
        if summary.latency is not None:
            return {"seconds": summary.latency.median, "how": f"measured, the median over repeats: {summary.latency.place}"}
        if table is None:
            return na("simulated only")
        measured = inputs is not None and isinstance(inputs.hardware, LatencyProfile)
        how = "the sum of layers that were measured one by one" if measured else "estimated from a hardware profile, not measured"
        return {"seconds": table.total(self.allocation), "how": how}

    def _symmetry_cost(self) -> float:
        """`log2(2 max|w| / (max w − min w))` per output channel, averaged over the quantized weights."""
        total, weighted = 0, 0.0
        for layer in self.layers:
            if self._weight_bits(layer) == FLOAT_BITS:
                continue
            weight = getattr(self.problem.model.get_submodule(layer.module), layer.parameter).detach().float()
            rows = Rows.of_layer(self.problem.model, layer).split(weight)
            ranges = zip(rows.amin(1).tolist(), rows.amax(1).tolist(), strict=True)
            weighted += rows.shape[1] * sum(asymmetry_bits(low, high) for low, high in ranges)
            total += layer.weights
        return weighted / total if total else 0.0


def _kind(model: nn.Module, layer: Layer) -> str:
    groups = getattr(model.get_submodule(layer.module), "groups", 1) if layer.axes is None else 1
    return f"depthwise {layer.kind}" if groups > 1 and groups == layer.channels else layer.kind


def _is_power(input: QuantizedInput) -> bool:
    return input.format.kind == "power_of_two"


def _input_datatype(input: QuantizedInput) -> str:
    """What hardware would call it."""
    if _is_power(input):
        return f"{input.format.bits} bits, {'sign' if input.signed else 'zero'} and power of two"
    return f"{'int' if input.signed else 'uint'}{input.format.bits}"


def _row_length(layer: Layer) -> int:
    return layer.weights // layer.channels


def _spelled(bits: Iterable[int]) -> list[Any]:
    return ["float32" if b == FLOAT_BITS else b for b in sorted(set(bits))]


def _runtimes(pairs: set[tuple[int, int]], corrected: bool, *, uniform: bool) -> dict[str, bool]:
    weights, acts = {w for w, _ in pairs}, {a for _, a in pairs}
    integers = uniform and not corrected
    return {
        "any integer bits, one scale per output channel": uniform,
        "weights and inputs in {2, 4, 8} bits": integers and weights | acts <= {2, 4, 8},
        "weights and inputs of 8 bits": integers and weights | acts <= {8},
        "weights in {4, 8} bits, float inputs": integers and weights <= {4, 8, FLOAT_BITS} and acts == {FLOAT_BITS},
        "weights expanded to float when loaded": True,
    }
