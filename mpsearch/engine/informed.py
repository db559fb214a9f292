"""Signals that say something: finite, not constant, more bits never worse; and what to believe where none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.table import Table
from mpsearch.engine.lattice import Lattice
from mpsearch.engine.solve import monotone
from mpsearch.engine.tables import grouped

__all__ = ["Signal", "informative", "neutral_signal"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A table as the searcher reads it.

    Args:
        origin: what proposals of its own are called.
        values: damage by group and choice, float64 `[G, C]`, ≥ 0, 0 at each group's best choice; 0 off the menus.
    """

    origin: str
    values: Floats


def informative(lattice: Lattice, tables: Sequence[Table]) -> list[Signal]:
    """The tables that tell allocations apart; there may be none.

    Noise can make more bits look worse than fewer; the running maximum from many bits to few takes that out.
    """
    signals = []
    for table in tables:
        try:
            values = grouped(lattice.space, monotone(table, lattice.space))
        except ValueError:  # a number is missing where a menu has a choice
            continue
        values = np.where(lattice.allowed, values, 0.0) - np.where(lattice.allowed, values, np.inf).min(axis=1, keepdims=True)
        values = np.where(lattice.allowed, values, 0.0)
        if values.max() > 0:
            signals.append(Signal(origin=f"milp:{table.name}", values=values))
    return signals


def neutral_signal(lattice: Lattice) -> Signal:
    """`Σ_g N_g (4^−b_w + 4^−b_a)`, the error of a uniform grid: what to believe where no signal tells."""
    bits = np.power(2.0, lattice.coordinates)
    values = lattice.weights[:, None] * np.power(4.0, -bits).sum(axis=1)[None]
    return Signal(origin="milp:bits", values=np.where(lattice.allowed, values, 0.0))
