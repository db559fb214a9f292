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
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import Budget, ranged
from mpsearch.core.choice import Choice
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace

__all__ = ["IndexedSpace"]


@dataclass(frozen=True, kw_only=True)
class IndexedSpace:
    """A space of G groups and C choices. An allocation is an array of picks, int `[G]`: the column of each group.

    Args:
        space: layers, menus and ties.
        costs: tables by name.
        budgets: all hold.
    """

    space: ResolvedSpace
    costs: Mapping[str, CostTable]
    budgets: tuple[Budget, ...]

    @cached_property
    def program(self) -> Knapsack:
        """The budgets as a knapsack whose objective is zero."""
        return self.program_at(1.0)

    def program_at(self, factor: float) -> Knapsack:
        """The same knapsack with every limit multiplied by `factor`; if a budget is a range, only its limit."""
        blank = self.space.table("nothing", "", np.zeros(self.space.allowed.shape))
        scaled = [ranged(self.budgets) in (None, b) for b in self.budgets]
        budgets = [replace(b, limit=b.limit * factor) if scales else b for b, scales in zip(self.budgets, scaled, strict=True)]
        return knapsack(self.space, blank, self.costs, budgets)

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
    def bits(self) -> Floats:
        """Bits of a weight and of an activation, float64 `[C, 2]`."""
        return np.array([[c.weight.bits_per_value, c.activation.bits_per_value] for c in self.space.choices], dtype=np.float64)

    @cached_property
    def weights(self) -> Floats:
        """Number of weights, float64 `[G]`."""
        return np.array([sum(self.space.layers[index].weights for index in group) for group in self.space.groups], dtype=np.float64)

    @cached_property
    def richer(self) -> NDArray[np.bool_]:
        """Bool `[C, C]`: has the column's choice at least the bits of the row's, and more of one kind?"""
        choices = self.space.choices
        return np.array([[one != other and other.at_least(one) for other in choices] for one in choices], dtype=np.bool_)

    def picks(self, allocation: Mapping[str, Choice]) -> Picks:
        """The picks of an allocation.

        Raises:
            SpaceError: it is not an allocation of this space.
        """
        try:
            columns = self._columns
            picks = np.array([columns[allocation[name]] for name in self._first_names], dtype=np.intp)
            known = bool(self.allowed[np.arange(len(picks)), picks].all())
        except KeyError:
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
    def _columns(self) -> Mapping[Choice, int]:
        return {choice: column for column, choice in enumerate(self.space.choices)}
