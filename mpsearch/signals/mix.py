"""`mix`: several signals as one, weighted by what a few measured allocations really lost.

    damage(x) ≈ C · (1 − exp(−Σ_s w_s T_s(x) / C)),   w_s ≥ 0

`T_s` are the tables' totals; `C` is the ceiling at which damage saturates (infinite: additive). The weights are fitted by non-negative
least squares on relative errors, so that mild allocations count as much as ruined ones. Every subset of the signals and a few ceilings
compete, and the rank correlation (Spearman) of leave-one-out predictions decides, for it is ranks that a solver lives on. Each signal
alone is one of the candidates.

Source: section 5 of the signal survey this library was built on (own protocol); saturation as in coverage models, see `coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import DataError
from mpsearch.core.table import Table

__all__ = ["Mixture", "mix", "rank_correlation"]

Floats = NDArray[np.float64]

_CEILINGS = (math.inf, 3.0, 1.3, 1.05)
"""Ceilings to try, in units of the largest measured damage."""

_FEWEST = 4
_MOST_SIGNALS = 8


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A fitted mixture.

    Args:
        table: `Σ_s w_s T_s`, nats, `[L, C]`; what the solver takes.
        weights: by signal name, zero for those left out.
        ceiling: C in nats, infinite if damage adds up.
        correlation: Spearman's ρ of leave-one-out predictions.
        alone: ρ of each signal by itself.
    """

    table: Table
    weights: Mapping[str, float]
    ceiling: float
    correlation: float
    alone: Mapping[str, float]

    def predict(self, allocation: Allocation) -> float:
        """Expected damage in nats."""
        total = self.table.total(allocation)
        return total if math.isinf(self.ceiling) else self.ceiling * -math.expm1(-total / self.ceiling)


def mix(tables: Sequence[Table], allocations: Sequence[Allocation], damages: Sequence[float]) -> Mixture:
    """Fit on M measured allocations.

    Args:
        tables: 1 to 8 signals over the same layers and choices, distinct names.
        allocations: M of them, near the budgets that matter.
        damages: M measured losses above the float network's, in nats; those at or below zero count as the smallest positive one.

    Raises:
        DataError: fewer than four measured allocations, damages that are not finite or all alike, or too many signals.
    """
    measured = _checked(tables, allocations, damages)
    features = np.array([[table.total(allocation) for table in tables] for allocation in allocations])
    names = [table.name for table in tables]
    alone = {name: rank_correlation(features[:, s], measured) for s, name in enumerate(names)}
    best: tuple[float, int, float, tuple[int, ...]] | None = None
    for count in range(1, len(tables) + 1):
        for subset in combinations(range(len(tables)), count):
            for ceiling in _CEILINGS if count > 1 else (math.inf,):
                limit = ceiling * float(measured.max())
                correlation = rank_correlation(_left_out(features[:, subset], measured, limit), measured)
                if best is None or correlation > best[0] + 1e-9:
                    best = (correlation, count, limit, subset)
    assert best is not None
    correlation, _, limit, subset = best
    weights = dict.fromkeys(names, 0.0)
    weights.update(zip((names[s] for s in subset), _fit(features[:, subset], measured, limit).tolist(), strict=True))
    values = sum(weights[table.name] * table.values for table in tables)
    table = Table(
        name="mix",
        unit="nats",
        layers=tables[0].layers,
        choices=tables[0].choices,
        values=np.asarray(values),
        cost={
            "seconds": sum(table.cost.get("seconds", 0.0) for table in tables),
            "measured allocations": len(allocations),
            "rank correlation": correlation,
        },
    )
    return Mixture(table=table, weights=weights, ceiling=limit, correlation=correlation, alone=alone)


def rank_correlation(predicted: Floats, measured: Floats) -> float:
    """Spearman's ρ; 0 where one side is constant."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(spearmanr(predicted, measured).statistic)


def _checked(tables: Sequence[Table], allocations: Sequence[Allocation], damages: Sequence[float]) -> Floats:
    if not 1 <= len(tables) <= _MOST_SIGNALS:
        raise DataError(f"a mixture takes 1 to {_MOST_SIGNALS} signals, not {len(tables)}")
    if len(allocations) != len(damages) or len(damages) < _FEWEST:
        raise DataError(f"a mixture needs at least {_FEWEST} measured allocations, got {len(damages)}; measure more")
    measured = np.asarray(damages, dtype=np.float64)
    if not np.isfinite(measured).all():
        raise DataError("a mixture needs finite measured losses; leave out the allocations whose loss is not")
    if not (measured > 0).any() or np.ptp(measured) == 0:
        raise DataError("all measured allocations lose the same, so nothing tells the signals apart; measure fewer bits")
    floor = float(measured[measured > 0].min())
    return np.maximum(measured, floor)


def _fit(features: Floats, measured: Floats, limit: float) -> Floats:
    """Non-negative weights `[S]` of the signals."""
    additive = measured if math.isinf(limit) else -limit * np.log1p(-measured / limit)
    scale = np.maximum(np.abs(features).max(axis=0), np.finfo(np.float64).tiny)
    weights, _ = nnls(features / scale / additive[:, None], np.ones(len(additive)))
    return np.asarray(weights / scale)


def _left_out(features: Floats, measured: Floats, limit: float) -> Floats:
    """`[M]` additive predictions, each from a fit on the other allocations."""
    others = ~np.eye(len(measured), dtype=np.bool_)
    if features.shape[1] == 1:  # one weight: ranks do not depend on it
        return features[:, 0]
    return np.array([features[m] @ _fit(features[keep], measured[keep], limit) for m, keep in enumerate(others)])
