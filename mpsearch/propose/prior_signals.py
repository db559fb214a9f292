"""Signals that the prior can use: finite, not constant, and never better with fewer bits; and a default where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpsearch.allocate.program import grouped
from mpsearch.allocate.solve import monotone
from mpsearch.core.arrays import Floats
from mpsearch.core.table import Table
from mpsearch.propose.indexed_space import IndexedSpace

__all__ = ["PriorSignal", "informative_signals", "uninformative_signal"]


@dataclass(frozen=True, kw_only=True)
class PriorSignal:
    """A table as damage by group and choice.

    Args:
        origin: of the proposals that are its optima.
        values: float64 `[G, C]`, ≥ 0, 0 at the best choice of each group and off the menus.
    """

    origin: str
    values: Floats


def informative_signals(indexed: IndexedSpace, tables: Sequence[Table]) -> list[PriorSignal]:
    """The tables that distinguish allocations; there may be none.

    Noise can make more bits look worse than fewer; a running maximum from many bits to few removes that.
    """
    signals = []
    for table in tables:
        try:
            values = grouped(indexed.space, monotone(table, indexed.space))
        except ValueError:  # a number is missing where a menu has a choice
            continue
        values = np.where(indexed.allowed, values - np.nanmin(values, axis=1, keepdims=True), 0.0)
        if values.max() > 0:
            signals.append(PriorSignal(origin=f"milp:{table.name}", values=values))
    return signals


def uninformative_signal(indexed: IndexedSpace) -> PriorSignal:
    """`Σ_g N_g (4^−b_w + 4^−b_a)`, the error of a uniform grid: the default where no signal is informative."""
    values = indexed.weights[:, None] * np.power(4.0, -indexed.bits).sum(axis=1)[None]
    return PriorSignal(origin="milp:bits", values=np.where(indexed.allowed, values, 0.0))
