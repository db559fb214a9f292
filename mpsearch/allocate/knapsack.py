"""The multiple-choice knapsack on plain arrays: one column a group, least objective, every limit held."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Core", "Found", "Knapsack"]


@dataclass(frozen=True, kw_only=True)
class Knapsack:
    """`min Σ_g objective[g, x_g]` subject to `base_m + Σ_g costs[m, g, x_g] ≤ limits[m]` and `x ∉ excluded`.

    Args:
        objective: float64 `[G, K]`.
        costs: float64 `[M, G, K]`.
        base: float64 `[M]`, in the unit of the cost.
        limits: float64 `[M]`, in the unit of the cost.
        allowed: bool `[G, K]`; values elsewhere are never used.
        excluded: picks that may not be returned, each G column indices.
    """

    objective: NDArray[np.float64]
    costs: NDArray[np.float64]
    base: NDArray[np.float64]
    limits: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    excluded: frozenset[tuple[int, ...]] = frozenset()

    def amount(self, m: int, picks: NDArray[np.intp]) -> float:
        """Cost m of the picks: the exact sum, rounded once; itself exact for whole numbers below 2**53."""
        return math.fsum([float(self.base[m]), *self.costs[m, np.arange(len(picks)), picks].tolist()])

    def broken(self, picks: NDArray[np.intp]) -> int | None:
        """The first limit that the picks break."""
        return next((m for m, limit in enumerate(self.limits) if self.amount(m, picks) > limit), None)

    def room(self, picks: NDArray[np.intp]) -> NDArray[np.float64]:
        """What the picks leave of each limit, float64 `[M]`; below zero where they break it."""
        return np.array([limit - self.amount(m, picks) for m, limit in enumerate(self.limits)], dtype=np.float64)

    def accepts(self, picks: NDArray[np.intp]) -> bool:
        """Whether every limit holds and the picks are not excluded."""
        return tuple(picks.tolist()) not in self.excluded and self.broken(picks) is None


@dataclass(frozen=True, kw_only=True)
class Core:
    """A knapsack seen from the optimum of its LP relaxation: the anchor, one column a group, and the way from it to every other column.

    Objectives are divided by `scale`. For any picks x, `Σ reduced + prices · slack` is their distance above the relaxation's bound,
    so a column whose reduced cost exceeds the distance of a known answer is in no better one.

    Args:
        anchor: int `[G]`, columns with reduced cost 0.
        reduced: float64 `[G, K]`, ≥ 0; infinite for columns no optimum needs.
        objective: float64 `[G, K]`, relative to the anchor.
        costs: float64 `[M, G, K]`, relative to the anchor.
        rooms: float64 `[M]`, limit minus the anchor's cost; may be negative.
        prices: float64 `[M]`, ≥ 0, objective per unit of cost.
        slop: float64 `[M]`, rounding that sums of relative costs may carry; the last word is `Knapsack.accepts`.
        scale: unit of the objective here, in the knapsack's own.
    """

    anchor: NDArray[np.intp]
    reduced: NDArray[np.float64]
    objective: NDArray[np.float64]
    costs: NDArray[np.float64]
    rooms: NDArray[np.float64]
    prices: NDArray[np.float64]
    slop: NDArray[np.float64]
    scale: float

    def within(self, width: float) -> NDArray[np.bool_]:
        """Columns, bool `[G, K]`, whose reduced cost is at most `width`; all that matter for an infinite width."""
        return np.isfinite(self.reduced) & (self.reduced <= width)

    def above(self, picks: NDArray[np.intp]) -> float:
        """Distance of the picks' objective above the relaxation's bound, in units of `scale`."""
        groups = np.arange(len(picks))
        slack = self.rooms - self.costs[:, groups, picks].sum(axis=1)
        return max(0.0, float(self.reduced[groups, picks].sum() + self.prices @ slack))


@dataclass(frozen=True, kw_only=True)
class Found:
    """An answer to a core.

    Args:
        picks: int `[G]`.
        unproven: how much better another answer within the same core could be, in units of `Core.scale`.
    """

    picks: NDArray[np.intp]
    unproven: float = 0.0
