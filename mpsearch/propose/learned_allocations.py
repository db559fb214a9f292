"""Allocations from learned bits: the nearest ones in the space and within the budgets; and the mean bits that the budgets allow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from mpsearch.allocate.solve import solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["affordable_bits", "learned_allocations", "nearest"]

_STEPS = 40
_FEWEST_ACT_BITS = 2


def affordable_bits(space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> float:
    """Mean weight bits that all budgets leave room for: of the widest uniform network within them, costs interpolated between widths.

    Activations take as many bits as weights where the menus let them. Never outside what the menus reach below float. A budget on a cost
    that weight bits do not change leaves room for all of them.
    """
    formats = sorted({choice.weight for choice in space.choices if not choice.weight.is_float})
    if not formats:
        return float(FLOAT_BITS)
    uniform = [space.uniform(Choice(format, max(format.bits, _FEWEST_ACT_BITS))) for format in formats]
    means = [allocation.mean_weight_bits(space.layers) for allocation in uniform]
    found = means[-1]
    for budget in budgets:
        if not _depends_on_weights(space, costs[budget.cost]):
            continue
        amounts = [costs[budget.cost].total(allocation) for allocation in uniform]
        found = min(found, float(np.interp(budget.limit, np.maximum.accumulate(amounts), means)))
    return found


def _depends_on_weights(space: ResolvedSpace, cost: CostTable) -> bool:
    """Whether two choices of a layer with the same activation format differ in cost anywhere."""
    for row, (layer, menu) in itertools.product(cost.rows, enumerate(space.menus)):
        cells: dict[NumberFormat, set[float]] = {}
        for choice in menu:
            value = row.values[row.layers.index(space.names[layer]), row.choices.index(choice)]
            cells.setdefault(choice.activation, set()).add(float(value))
        if any(len(values) > 1 for values in cells.values()):
            return True
    return False


def learned_allocations(
    space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget], tables: Sequence[Table]
) -> list[tuple[str, Allocation]]:
    """(origin, allocation) of every table with learned bits, within all budgets; the origin is `learned:` and the name of the table.

    Raises:
        BudgetError: the budgets cannot be met.
    """
    return [(f"learned:{table.name}", nearest(space, costs, budgets, table.bits)) for table in tables if table.bits]


def nearest(space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget], bits: Mapping[str, float]) -> Allocation:
    """The allocation under all budgets that lies nearest to learned bits.

        min Σ_l N_l/N (w_l − b_l)² + Σ_l M_l/M log2²(a_l / most a_l)        N_l weights, M_l input elements of layer l

    The bits b are first shifted, all by the same amount, to the mean that the budgets allow: a training at another price would have found
    them there (see `mpsearch.signals.learned.table_of_bits`). Because of the weight N_l, what still exceeds the budgets is taken evenly
    from all layers. Activation bits are not learned; they stay as close to the most as the budgets let them, measured in octaves.

    Args:
        space: layers and menus.
        costs: at least those the budgets limit.
        budgets: all hold.
        bits: learned weight bits by layer name; a layer without any keeps the most that its menu has.

    Raises:
        BudgetError: the budgets cannot be met.
    """
    moved = _moved(space, affordable_bits(space, costs, budgets), bits)
    weights = sum(layer.weights for layer in space.layers)
    elements = max(sum(layer.input_elements for layer in space.layers), 1)
    values = np.full(space.allowed.shape, np.nan)
    for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
        most = max(choice.activation.bits_per_value for choice in menu)
        for choice in menu:
            apart = (choice.weight.bits_per_value - moved[layer.name]) ** 2
            octaves = math.log2(choice.activation.bits_per_value / most) ** 2
            values[row, space.choices.index(choice)] = layer.weights / weights * apart + layer.input_elements / elements * octaves
    distance = space.table("distance", "bit²", values)
    return solve(space, distance, costs, budgets).allocation


def _moved(space: ResolvedSpace, wanted: float, bits: Mapping[str, float]) -> dict[str, float]:
    """Learned bits, all shifted by the same amount and clipped to their menus, so that their mean is `wanted`."""
    ends = {
        layer.name: (min(widths), max(widths))
        for layer, menu in zip(space.layers, space.menus, strict=True)
        if (widths := [choice.weight.bits_per_value for choice in menu])
    }
    learned = [layer for layer in space.layers if layer.name in bits]
    total = max(sum(layer.weights for layer in learned), 1)

    def at(shift: float) -> dict[str, float]:
        return {layer.name: min(max(bits[layer.name] + shift, ends[layer.name][0]), ends[layer.name][1]) for layer in learned}

    low, high = -float(FLOAT_BITS), float(FLOAT_BITS)
    for _ in range(_STEPS):  # the mean rises with the shift
        middle = (low + high) / 2
        mean = sum(layer.weights * at(middle)[layer.name] for layer in learned) / total
        low, high = (middle, high) if mean < wanted else (low, middle)
    return {**{name: float(top) for name, (_, top) in ends.items()}, **at((low + high) / 2)}
