"""The multiple-choice knapsack as arrays: choose one column a group, minimise the objective, respect every limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks

__all__ = ["Core", "Found", "Knapsack"]


@dataclass(frozen=True, kw_only=True)
class Knapsack:
    """`min Σ_g objective[g, x_g]` subject to `base_m + Σ_g costs[m, g, x_g] ≤ limits[m]` and `x ∉ excluded`.

    Args:
        objective: float64 `[G, K]`.
        costs: float64 `[M, G, K]`.
        base: float64 `[M]`, in the unit of the cost.
        limits: float64 `[M]`, in the unit of the cost.
        allowed: bool `[G, K]`; other columns are never chosen, and their values never read.
        excluded: picks that may not be returned, G column indices each.
    """

    objective: Floats
    costs: Floats
    base: Floats
    limits: Floats
    allowed: NDArray[np.bool_]
    excluded: frozenset[tuple[int, ...]] = frozenset()

    def amount(self, m: int, picks: Picks) -> float:
        """Cost m of the picks: the exact sum, rounded once; itself exact for whole numbers below 2**53."""
        return math.fsum([float(self.base[m]), *self.costs[m, np.arange(len(picks)), picks].tolist()])

    def broken(self, picks: Picks) -> int | None:
        """Index of the first limit that the picks exceed; None when all hold."""
        return next((m for m, limit in enumerate(self.limits) if self.amount(m, picks) > limit), None)

    def room(self, picks: Picks) -> Floats:
        """What the picks leave of each limit, float64 `[M]`; negative where they exceed it."""
        return np.array([limit - self.amount(m, picks) for m, limit in enumerate(self.limits)], dtype=np.float64)

    def dearer(self, picks: Picks) -> Floats:
        """What each choice costs more than that of the picks, float64 `[M, G, K]`."""
        return self.costs - self.costs[:, np.arange(len(picks)), picks][:, :, None]

    def affordable(self, picks: Picks) -> NDArray[np.bool_]:
        """Whether one group may change to a choice and the picks still meet the limits, up to rounding, bool `[G, K]`."""
        return self.allowed & (self.dearer(picks) <= self.room(picks)[:, None, None]).all(axis=0)

    def accepts(self, picks: Picks) -> bool:
        """Whether every limit holds and the picks are not excluded."""
        return tuple(picks.tolist()) not in self.excluded and self.broken(picks) is None


@dataclass(frozen=True, kw_only=True)
class Core:
    """A knapsack relative to its anchor, the best column of each group at the dual prices of the linear relaxation.

    Objectives are divided by `scale`. For any picks, `Σ reduced + prices · slack` is how far their objective lies above the bound of the
    relaxation. So a column whose reduced cost exceeds that distance for a known solution is in no better solution.

    Args:
        anchor: int `[G]`, columns with reduced cost 0.
        reduced: reduced costs, float64 `[G, K]`, ≥ 0; infinite for columns that no optimum needs.
        objective: float64 `[G, K]`, relative to the anchor.
        costs: float64 `[M, G, K]`, relative to the anchor.
        rooms: float64 `[M]`, limit minus the cost of the anchor; may be negative.
        prices: float64 `[M]`, ≥ 0, objective per unit of cost.
        slop: float64 `[M]`, rounding error that sums of relative costs may have; `Knapsack.accepts` decides exactly.
        scale: unit of the objectives here, in the objective's own unit.
    """

    anchor: Picks
    reduced: Floats
    objective: Floats
    costs: Floats
    rooms: Floats
    prices: Floats
    slop: Floats
    scale: float

    def within(self, width: float) -> NDArray[np.bool_]:
        """Columns, bool `[G, K]`, whose reduced cost is at most `width`; with infinite width, all columns that an optimum may need."""
        return np.isfinite(self.reduced) & (self.reduced <= width)

    def above(self, picks: Picks) -> float:
        """How far the objective of the picks lies above the bound of the relaxation, in units of `scale`."""
        groups = np.arange(len(picks))
        slack = self.rooms - self.costs[:, groups, picks].sum(axis=1)
        return max(0.0, float(self.reduced[groups, picks].sum() + self.prices @ slack))


@dataclass(frozen=True, kw_only=True)
class Found:
    """A solution of a core.

    Args:
        picks: int `[G]`.
        unproven: how much better another solution within the same core could be, in units of `Core.scale`.
    """

    picks: Picks
    unproven: float = 0.0
