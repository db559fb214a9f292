"""Confounder flips (section M): what the delivered bits would score if one choice besides the method were made the other way.

Garg, Jain, Lou, Nahmias, arXiv 2102.06366, tradeoffs T1 to T9. Nothing is trained, and the unflipped baseline takes the same path
(`variants`), so that one factor changes at a time. A change says how much that choice matters for these bits; the delivered, trained
network may react differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpsearch.allocate.solve import solve
from mpsearch.card.arithmetic import bops, equal_size_bits, mean_bits, packed_bytes, peak_bits
from mpsearch.card.inputs import CardInputs
from mpsearch.card.recheckpoint import recheckpointed
from mpsearch.card.relabel import relabelled
from mpsearch.card.schema import NA
from mpsearch.card.sections import AblationSection, Flip
from mpsearch.card.variants import OUT_OF_TIME, ActFormat, Bench, Variant, WeightFormat
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.numbers.grid import GridStyle
from mpsearch.training.recipe import Recipe

__all__ = ["confounder_flips", "end_layers", "ends_at", "rounded_to_kernels"]

_KERNELS = (2, 4, 8)
_ENDS = 8

_Measure = Callable[[Bench, Allocation], Flip]


def confounder_flips(
    inputs: CardInputs, allocation: Allocation, style: GridStyle, recipe: Recipe, tables: Sequence[Table]
) -> AblationSection:
    """Section M for the delivered allocation.

    Args:
        inputs: the run.
        allocation: as delivered.
        style: weight grid of the delivered method.
        recipe: of the run.
        tables: signals of the run.
    """
    bench = Bench(inputs.problem, style, recipe, limit=inputs.limit)
    measures: tuple[_Measure, ...] = (_granularity, _weight_symmetry, _act_symmetry, _ends, _coverage, _kernels, _peak)
    flips = [measure(bench, allocation) for measure in measures]
    flips += [relabelled(inputs, bench, tables), recheckpointed(inputs, bench, allocation)]
    return AblationSection(
        path="Calibrated, not trained: float weights on a uniform grid, least-squares steps, BatchNorm re-estimated, scored on validation",
        samples=bench.samples,
        unflipped_metric=bench.score(Variant(allocation=allocation)).metric,
        flips=flips,
    )


def end_layers(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Positions of the first and the last layer in forward order (one position where they are the same).

    The output projection of an attention module is never called by itself and stands at the end of the list; it does not count as last.
    """
    called = [index for index, layer in enumerate(layers) if layer.input_elements] or list(range(len(layers)))
    return tuple(sorted({called[0], called[-1]}))


def ends_at(layers: Sequence[Layer], allocation: Allocation, bits: int) -> Allocation:
    """The allocation with the first and the last layer at `bits`; their inputs too (at 2 or more) where those are quantized."""
    names = [layers[index].name for index in end_layers(layers)]
    moved = {name: Choice(bits, FLOAT_BITS if allocation[name].activation.bits == FLOAT_BITS else max(bits, 2)) for name in names}
    return Allocation({**allocation, **moved})


def rounded_to_kernels(space: ResolvedSpace, allocation: Allocation) -> Allocation:
    """The nearest allocation in {2, 4, 8} bits with no more weight bits in total: it minimises `Σ N_l log2(b'_l/b_l)²`.

    Input bits are rounded down.

    Raises:
        BudgetError: even 2 bits everywhere are more.
    """
    menus = tuple(_kernel_menu(allocation[name]) for name in space.names)
    narrowed = ResolvedSpace(layers=space.layers, menus=menus, groups=space.groups)
    choices = narrowed.choices
    distance, size = (np.full((len(menus), len(choices)), np.nan) for _ in range(2))
    for row, (layer, menu) in enumerate(zip(space.layers, menus, strict=True)):
        for choice in menu:
            column = choices.index(choice)
            distance[row, column] = layer.weights * math.log2(choice.weight.bits / allocation[layer.name].weight.bits) ** 2
            size[row, column] = layer.weights * choice.weight.bits
    held = float(sum(layer.weights * allocation[layer.name].weight.bits for layer in space.layers))
    objective, cost = (narrowed.table(name, "", values) for name, values in (("distance", distance), ("weight bits", size)))
    return solve(narrowed, objective, {"weight bits": cost}, [Budget("weight bits", held, f"{held:.0f} bit")]).allocation


def _kernel_menu(choice: Choice) -> tuple[Choice, ...]:
    act = choice.activation.bits
    if act != FLOAT_BITS:
        act = max(b for b in _KERNELS if b <= act)
    if choice.weight.bits == FLOAT_BITS:
        return (Choice(FLOAT_BITS, act),)
    return tuple(Choice(bits, act) for bits in _KERNELS)


def _granularity(bench: Bench, allocation: Allocation) -> Flip:
    what = "one scale per weight tensor instead of one per output channel"
    saved = -2 * sum(layer.channels - 1 for layer in _quantized(bench, allocation))
    return _measured(bench, "T1", what, allocation, weights="tensor", cost={"scale_bytes": saved})


def _weight_symmetry(bench: Bench, allocation: Allocation) -> Flip:
    layers = _quantized(bench, allocation)
    flipped = [layer for layer in layers if allocation[layer.name].weight.bits > 1]
    if not flipped:
        return _absent("T2", "asymmetric weights", "every quantized weight has 1 bit, where no asymmetric grid with an exact zero helps")
    kept = "" if len(flipped) == len(layers) else "; 1-bit weights keep their format"
    note, points = f"costs a term Σx at every output position{kept}", {"zero_point_bytes": sum(layer.channels for layer in flipped)}
    what = "asymmetric weights instead of symmetric ones"
    return _measured(bench, "T2", what, allocation, weights="asymmetric", cost=points, note=note)


def _act_symmetry(bench: Bench, allocation: Allocation) -> Flip:
    calibration = bench.problem.calibration
    inputs = [name for name, choice in allocation.items() if choice.activation.bits != FLOAT_BITS]
    if not inputs:
        return _absent("T3", "symmetric or asymmetric activations", "activations are float")
    unsigned = [name for name in inputs if not calibration.signed(name)]
    if unsigned:
        note = f"{len(unsigned)} of {len(inputs)} inputs are never negative and lose half of their codes"
        return _measured(bench, "T3", "symmetric activations everywhere", allocation, activations="symmetric", note=note)
    points = {"zero_point_bytes": len(inputs)}
    return _measured(bench, "T3", "asymmetric activations everywhere", allocation, activations="asymmetric", cost=points)


def _ends(bench: Bench, allocation: Allocation) -> Flip:
    layers = bench.problem.space.layers
    ends = end_layers(layers)
    bits = _ENDS
    if all(allocation[layers[index].name].weight.bits == _ENDS for index in ends):
        rest = mean_bits(*_weights_and_bits(layers, allocation), without=ends)
        if not rest < _ENDS:
            return _absent("T4", "first and last layer at 8 bits", "they are already, and so are all other layers")
        bits = max(round(rest), 1)
    what = f"first and last layer at {bits} bits" + ("" if bits == _ENDS else ", the mean of the other layers, instead of 8")
    return _measured(bench, "T4", what, allocation, flipped=ends_at(layers, allocation, bits))


def _coverage(bench: Bench, allocation: Allocation) -> Flip:
    if all(choice.activation.bits == FLOAT_BITS for choice in allocation.values()):
        return _absent("T5", "what is quantized", "only weights are quantized, so no activation can be left out")
    floating = Allocation({name: Choice(choice.weight) for name, choice in allocation.items()})
    return _measured(bench, "T5", "weights only, instead of weights and layer inputs", allocation, flipped=floating)


def _kernels(bench: Bench, allocation: Allocation) -> Flip:
    what = "bits in {2, 4, 8} at no more weight bits"
    if all(bits in (*_KERNELS, FLOAT_BITS) for choice in allocation.values() for bits in (choice.weight.bits, choice.activation.bits)):
        return _absent("T6", what, "all bits are in {2, 4, 8} already")
    try:
        flipped = rounded_to_kernels(bench.problem.space, allocation)
    except BudgetError:
        return replace(_absent("T6", what, "no allocation in {2, 4, 8} is as small"), status="not run")
    return _measured(bench, "T6", what, allocation, flipped=flipped)


def _peak(bench: Bench, allocation: Allocation) -> Flip:
    what = "activation memory by its peak instead of its mean"
    layers = [layer for layer in bench.problem.space.layers if layer.input_elements]
    if not layers:
        return _absent("T7", what, "no layer reads a feature map")
    elements, bits = [layer.input_elements for layer in layers], [allocation[layer.name].activation.bits for layer in layers]
    mean = mean_bits(elements, bits)
    equal = equal_size_bits(elements, mean)
    return Flip(
        toggle="T7",
        what=what,
        status="measured",
        metric_change=NA,
        cost_change={
            "mean_input_bytes": sum(e * b for e, b in zip(elements, bits, strict=True)) / len(layers) / 8,
            "peak_input_bytes": peak_bits(elements, bits) / 8,
            "peak_input_bytes_at_equal_sizes": peak_bits(elements, equal) / 8,
            "mean_input_bits": mean,
            "mean_input_bits_at_equal_sizes": mean_bits(elements, equal),
        },
        note="computed over layer inputs; the network, and so its score, is the same",
    )


def _measured(
    bench: Bench,
    toggle: str,
    what: str,
    allocation: Allocation,
    *,
    flipped: Allocation | None = None,
    weights: WeightFormat = "row",
    activations: ActFormat = "auto",
    cost: Mapping[str, float] | None = None,
    note: str = "",
) -> Flip:
    base = Variant(allocation=allocation)
    other = Variant(allocation=flipped or allocation, weights=weights, activations=activations)
    before, after = (amounts(bench.problem.space.layers, variant.allocation) for variant in (base, other))
    moved = {} if flipped is None else {name: after[name] - before[name] for name in before}
    costs = {**(cost or {}), **moved}
    if bench.left < 0:
        return Flip(toggle=toggle, what=what, status="not run", metric_change=NA, cost_change=costs, note=OUT_OF_TIME)
    change = bench.score(other).metric - bench.score(base).metric
    return Flip(toggle=toggle, what=what, status="measured", metric_change=change, cost_change=costs, note=note)


def amounts(layers: Sequence[Layer], allocation: Allocation) -> dict[str, float]:
    """What an allocation costs, in menu or not: packed weight bytes, mean weight bits, bytes of layer inputs, bit operations."""
    weights, bits = _weights_and_bits(layers, allocation)
    acts = [allocation[layer.name].activation.bits for layer in layers]
    return {
        "weight_bytes": packed_bytes(weights, bits),
        "mean_weight_bits": mean_bits(weights, bits),
        "input_bytes": sum(layer.input_elements * act for layer, act in zip(layers, acts, strict=True)) / 8,
        "bops": bops([layer.macs for layer in layers], bits, acts),
    }


def _absent(toggle: str, what: str, why: str) -> Flip:
    return Flip(toggle=toggle, what=what, status=NA, metric_change=NA, cost_change={}, note=why)


def _quantized(bench: Bench, allocation: Allocation) -> list[Layer]:
    return [layer for layer in bench.problem.space.layers if allocation[layer.name].weight.bits != FLOAT_BITS]


def _weights_and_bits(layers: Sequence[Layer], allocation: Allocation) -> tuple[list[int], list[int]]:
    return [layer.weights for layer in layers], [allocation[layer.name].weight.bits for layer in layers]
