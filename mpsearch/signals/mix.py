"""`mix`: several signals as one, weighted by what a few measured allocations really lost.

    damage(x) ≈ C · (1 − exp(−Σ_s w_s T_s(x) / C)),   w_s ≥ 0

`T_s` are the tables' totals; `C` is the ceiling at which damage saturates (infinite: additive). With a few dozen measurements free weights
follow their noise, so the fit is drawn towards weights that need no fit:

    minimise over w ≥ 0    mean_m (Σ_s w_s T_s(x_m) / d_m − 1)² + λ Σ_s (w_s / c_s − p_s)²

with `d_m` the measured damage (saturation taken out) and errors relative to it, so that mild allocations count as much as ruined ones;
`c_s` the scale at which a signal alone is right in the middle (median of `d_m / T_s(x_m)`), which brings all to one unit; and `p_s` its
share by precision, the inverse variance of `log d_m − log c_s T_s(x_m)`. λ and C are those whose leave-one-out predictions have the
highest rank correlation (Spearman) with the damage, for it is ranks that a solver lives on; of equal ones the largest. Each signal alone
is a candidate too.

Source: section 5 of the signal survey this library was built on (own protocol); ridge regression as in Hoerl and Kennard, Technometrics 12,
1970; saturation as in coverage models, see `coverage`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import DataError
from mpsearch.core.table import Table
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs

__all__ = ["MIX", "Mixture", "mix", "rank_correlation"]

Floats = NDArray[np.float64]

_CEILINGS = (math.inf, 3.0, 1.3)
"""Ceilings to try, in units of the largest measured damage."""

_SHRINKAGES = (math.inf, 3.0, 1.0, 0.3, 0.1, 0.03, 0.0)
"""λ to try, from weights that are given by precision alone to weights that are free."""

_FEWEST = 4
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A fitted mixture.

    Args:
        table: `Σ_s w_s T_s`, nats, `[L, C]`; what the solver takes.
        weights: by signal name, zero for those left out.
        shares: of each signal in `Σ_s w_s T_s`, the mean over the measured allocations.
        ceiling: C in nats, infinite if damage adds up.
        shrinkage: λ.
        correlation: Spearman's ρ of leave-one-out predictions.
        alone: ρ of each signal by itself.
    """

    table: Table
    weights: Mapping[str, float]
    shares: Mapping[str, float]
    ceiling: float
    shrinkage: float
    correlation: float
    alone: Mapping[str, float]

    def predict(self, allocation: Allocation) -> float:
        """Expected damage in nats."""
        total = self.table.total(allocation)
        return total if math.isinf(self.ceiling) else self.ceiling * -math.expm1(-total / self.ceiling)


@dataclass(frozen=True)
class _Candidate:
    """Signals (columns of the features), and how they are fitted."""

    columns: tuple[int, ...]
    shrinkage: float
    limit: float


def mix(tables: Sequence[Table], allocations: Sequence[Allocation], damages: Sequence[float]) -> Mixture:
    """Fit on M measured allocations.

    Args:
        tables: signals over the same layers and choices, distinct names.
        allocations: M of them, near the budgets that matter.
        damages: M measured losses above the float network's, in nats; those at or below zero count as the smallest positive one.

    Raises:
        DataError: no signal, or fewer than four measured allocations; damages that are not finite or all alike; or no signal that tells
            the allocations apart.
    """
    began = time.perf_counter()
    measured = _checked(tables, allocations, damages)
    names = [table.name for table in tables]
    features = np.array([[table.total(allocation) for table in tables] for allocation in allocations])
    alone = {name: rank_correlation(features[:, s], measured) for s, name in enumerate(names)}
    telling = [s for s in range(len(tables)) if np.ptp(features[:, s]) > 0 and (features[:, s] > 0).all()]
    if not telling:
        raise DataError(f"no signal of {', '.join(names)} tells the measured allocations apart; compute another")
    chosen, correlation = _best(features, measured, telling)
    weights = np.zeros(len(tables))
    weights[list(chosen.columns)] = _fit(features[:, chosen.columns], measured, chosen)
    parts = features * weights
    shares = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    spent = {key: sum(table.cost.get(key, 0.0) for table in tables) for key in ("seconds", "forwards", "backwards")}
    table = Table(
        name="mix",
        unit="nats",
        layers=tables[0].layers,
        choices=tables[0].choices,
        values=np.asarray(sum(weight * table.values for weight, table in zip(weights, tables, strict=True))),
        cost={
            **spent,
            "seconds": spent["seconds"] + time.perf_counter() - began,
            "measured allocations": float(len(allocations)),
            "correlation": correlation,
            **({} if math.isinf(chosen.limit) else {"ceiling": chosen.limit}),
            **{f"weight of {name}": float(weight) for name, weight in zip(names, weights, strict=True)},
            **{f"share of {name}": float(share) for name, share in zip(names, shares, strict=True)},
            **{f"correlation of {name}": rho for name, rho in alone.items()},
        },
    )
    return Mixture(
        table=table,
        weights=dict(zip(names, weights.tolist(), strict=True)),
        shares=dict(zip(names, shares.tolist(), strict=True)),
        ceiling=chosen.limit,
        shrinkage=chosen.shrinkage,
        correlation=correlation,
        alone=alone,
    )


def rank_correlation(predicted: Floats, measured: Floats) -> float:
    """Spearman's ρ; 0 where one side is constant."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(spearmanr(predicted, measured).statistic)


def _checked(tables: Sequence[Table], allocations: Sequence[Allocation], damages: Sequence[float]) -> Floats:
    if not tables:
        raise DataError("a mixture needs signals; there is none")
    if len(allocations) != len(damages) or len(damages) < _FEWEST:
        raise DataError(f"a mixture needs at least {_FEWEST} measured allocations, got {len(damages)}; measure more")
    measured = np.asarray(damages, dtype=np.float64)
    if not np.isfinite(measured).all():
        raise DataError("a mixture needs finite measured losses; leave out the allocations whose loss is not")
    if not (measured > 0).any() or np.ptp(measured) == 0:
        raise DataError("all measured allocations lose the same, so nothing tells the signals apart; measure fewer bits")
    floor = float(measured[measured > 0].min())
    return np.maximum(measured, floor)


def _best(features: Floats, measured: Floats, telling: Sequence[int]) -> tuple[_Candidate, float]:
    """The candidate with the highest leave-one-out rank correlation, and that; of equal ones the first."""
    largest = float(measured.max())
    candidates = [_Candidate(tuple(telling), shrinkage, ceiling * largest) for shrinkage in _SHRINKAGES for ceiling in _CEILINGS]
    candidates += [_Candidate((s,), math.inf, math.inf) for s in telling]
    correlations = [rank_correlation(_left_out(features[:, c.columns], measured, c), measured) for c in candidates]
    first = int(np.argmax(np.round(correlations, 9)))
    return candidates[first], correlations[first]


def _fit(features: Floats, measured: Floats, how: _Candidate) -> Floats:
    """Non-negative weights `[S]` of the signals."""
    additive = measured if math.isinf(how.limit) else -how.limit * np.log1p(-measured / how.limit)
    relative = features / additive[:, None]
    scale = 1 / np.median(relative, axis=0)
    spread = np.log(relative * scale).var(axis=0)
    prior = 1 / (spread + 1e-3 * spread.max() + _TINY)
    prior /= prior.sum()
    if math.isinf(how.shrinkage):
        return np.asarray(prior * scale)
    pull = math.sqrt(how.shrinkage * len(measured)) * np.eye(len(prior))
    weights, _ = nnls(np.vstack([relative * scale, pull]), np.concatenate([np.ones(len(measured)), pull @ prior]))
    return np.asarray(weights * scale)


def _left_out(features: Floats, measured: Floats, how: _Candidate) -> Floats:
    """`[M]` additive predictions, each from a fit on the other allocations."""
    if features.shape[1] == 1:  # one weight: ranks do not depend on it
        return features[:, 0]
    others = ~np.eye(len(measured), dtype=np.bool_)
    return np.array([features[m] @ _fit(features[keep], measured[keep], how) for m, keep in enumerate(others)])


def _combine(inputs: SignalInputs) -> Table:
    if not inputs.tables or not inputs.measured:
        raise DataError("signal 'mix' weighs other signals by measured allocations; give it both")
    table = mix(inputs.tables, [allocation for allocation, _ in inputs.measured], [damage for _, damage in inputs.measured]).table
    inputs.report(1, 1)
    return table


MIX = SIGNALS.register("mix")(
    Signal(
        name="mix",
        paper="own protocol; ridge: Hoerl and Kennard, Technometrics 12, 1970; saturation: Hill, arXiv 2607.12266",
        description="the other signals in one, weighed by the damage measured on random allocations near the budgets",
        function=_combine,
        combines=True,
    )
)
