"""`IndexedSpace`: a space as arrays, with a row for each group of tied layers and a column for each choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.program import allocation_of, knapsack
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["IndexedSpace"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class IndexedSpace:
    """A space of G groups and C choices. An allocation is an array of picks, int `[G]`: the column of each group.

    Args:
        space: layers, menus and ties.
        costs: tables by name.
        budgets: all hold.
    """

    space: ResolvedSpace
    costs: Mapping[str, Table]
    budgets: tuple[Budget, ...]

    @cached_property
    def program(self) -> Knapsack:
        """The budgets as a knapsack whose objective is zero."""
        return self.program_at(1.0)

    def program_at(self, factor: float) -> Knapsack:
        """The same knapsack with every limit multiplied by `factor`."""
        blank = Table(
            name="nothing",
            unit="",
            layers=self.space.names,
            choices=self.space.choices,
            values=np.zeros((len(self.space.names), len(self.space.choices))),
        )
        return knapsack(self.space, blank, self.costs, [replace(b, limit=b.limit * factor) for b in self.budgets])

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Whether a group's menu has a choice, bool `[G, C]`."""
        return self.program.allowed

    @cached_property
    def cheapest(self) -> Picks:
        """The allocation with the least total of costs relative to their budgets, int `[G]`."""
        shares = self.program.costs / self.program.limits[:, None, None]
        return np.asarray(np.where(self.allowed, shares.sum(axis=0), np.inf).argmin(axis=1))

    @cached_property
    def coordinates(self) -> Floats:
        """log2 of weight bits and activation bits, float64 `[C, 2]`."""
        return np.log2([[choice.weight_bits, choice.act_bits] for choice in self.space.choices]).astype(np.float64)

    @cached_property
    def weights(self) -> Floats:
        """Number of weights, float64 `[G]`."""
        return np.array([sum(self.space.layers[index].weights for index in group) for group in self.space.groups], dtype=np.float64)

    @cached_property
    def richer(self) -> NDArray[np.bool_]:
        """Whether the column's choice has at least the bits of the row's, and more of one kind, bool `[C, C]`."""
        bits = self.coordinates
        return np.asarray((bits[None] >= bits[:, None]).all(axis=2) & (bits[None] > bits[:, None]).any(axis=2))

    def picks(self, allocation: Mapping[str, Choice]) -> Picks:
        """The picks of an allocation.

        Raises:
            SpaceError: it is not an allocation of this space.
        """
        try:
            chosen = [allocation[name] for name in self._first_names]
            # Looked up by number: hashing thousands of dataclasses would dominate the time of a proposal.
            picks = self._columns[[choice.weight_bits for choice in chosen], [choice.act_bits for choice in chosen]]
            known = bool((picks >= 0).all()) and bool(self.allowed[np.arange(len(picks)), picks].all())
        except (KeyError, IndexError):
            known = False
        if not known:
            self.space.check(Allocation(allocation))
        return picks

    def allocation(self, picks: Picks) -> Allocation:
        """The allocation of picks."""
        return allocation_of(self.space, picks)

    def stacked(self, allocations: Sequence[Mapping[str, Choice]]) -> Picks:
        """The picks of N allocations, int `[N, G]`."""
        return np.array([self.picks(a) for a in allocations], dtype=np.intp).reshape(len(allocations), len(self.space.groups))

    @cached_property
    def _first_names(self) -> tuple[str, ...]:
        names = self.space.names
        return tuple(names[group[0]] for group in self.space.groups)

    @cached_property
    def _columns(self) -> Picks:
        columns = np.full((FLOAT_BITS + 1, FLOAT_BITS + 1), -1, dtype=np.intp)
        for column, choice in enumerate(self.space.choices):
            columns[choice.weight_bits, choice.act_bits] = column
        return columns
