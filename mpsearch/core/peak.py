"""`Peak`: the maximum of several additive quantities; `CostTable`: the result of a cost, a `Table` or a `Peak`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.choice import Choice
from mpsearch.core.table import Table

__all__ = ["CostTable", "Peak", "without_dominated"]

_MARGIN = 1e-9
"""Relative margin of comparisons between sums, so that rounding errors never drop a row that can be the largest."""


@dataclass(frozen=True)
class Peak:
    """Maximum over rows, each a sum over layers: `total(allocation) = max_r rows[r].total(allocation)`.

    Args:
        rows: at least one table; all have the same name, unit, layers and choices.
    """

    rows: tuple[Table, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a peak needs at least one row")
        first = self.rows[0]
        for row in self.rows[1:]:
            if (row.name, row.unit, row.layers, row.choices) != (first.name, first.unit, first.layers, first.choices):
                raise ValueError(f"the rows of the peak '{first.name}' differ in name, unit, layers or choices")

    @property
    def name(self) -> str:
        """Name of the cost."""
        return self.rows[0].name

    @property
    def unit(self) -> str:
        """Unit of every row."""
        return self.rows[0].unit

    @property
    def layers(self) -> tuple[str, ...]:
        """L row names of every table."""
        return self.rows[0].layers

    @property
    def choices(self) -> tuple[Choice, ...]:
        """C column choices of every table."""
        return self.rows[0].choices

    def total(self, allocation: Mapping[str, Choice]) -> float:
        """The largest total of a row; each total is an exact sum, rounded once.

        Raises:
            KeyError: a layer without a choice, or a choice without a column.
        """
        return max(row.total(allocation) for row in self.rows)


CostTable = Table | Peak
"""Both have `name`, `unit`, `layers`, `choices`, `rows` and `total`; a table is its own only row."""


def without_dominated(rows: Iterable[Table]) -> tuple[Table, ...]:
    """Drop the rows that are strictly the largest for no allocation.

    Row a is dominated by row b where `base_a − base_b + Σ_l max_k (a − b)[l, k] ≤ 0`. One of several equal rows is kept.

    Args:
        rows: tables of the same layers and choices, NaN at the same places.
    """
    tables = list(rows)
    values = np.nan_to_num(np.array([table.values for table in tables]))
    bases = np.array([table.base for table in tables])
    highest = bases + values.max(axis=2, initial=0.0).sum(axis=1)
    kept: list[int] = []
    for candidate in np.argsort(-highest, kind="stable").tolist():
        if not kept or not _dominated(values[candidate], bases[candidate], values[kept], bases[kept]):
            kept.append(candidate)
    return tuple(tables[index] for index in sorted(kept))


def _dominated(values: NDArray[np.float64], base: float, others: NDArray[np.float64], bases: NDArray[np.float64]) -> bool:
    """Whether another row is at least as large for every allocation."""
    difference = values - others
    everywhere = (difference <= 0).all(axis=(1, 2)) & (base <= bases)
    most = base - bases + difference.max(axis=2).sum(axis=1)
    scale = abs(base) + np.abs(bases) + np.abs(others).max(axis=2).sum(axis=1)
    return bool((everywhere | (most < -_MARGIN * scale)).any())
