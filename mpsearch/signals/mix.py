"""`mix`: several signals as one, weighted by what a few measured allocations really lost.

    damage(x) ≈ C · (1 − exp(−Σ_s w_s T_s(x) / C)),   w_s ≥ 0

`T_s` are the tables' totals; `C` is the ceiling at which damage saturates (infinite: additive). With a few dozen measurements free weights
follow their noise, so the fit is drawn towards weights that need no fit:

    minimise over w ≥ 0    mean_m (Σ_s w_s T_s(x_m) / d_m − 1)² + λ Σ_s (w_s / c_s − p_s)²

with `d_m` the measured damage (saturation taken out) and errors relative to it, so that mild allocations count as much as ruined ones;
`c_s` the scale at which a signal alone is right in the middle (median of `d_m / T_s(x_m)`), which brings all to one unit; and `p_s` its
share by precision, the inverse variance of `log d_m − log c_s T_s(x_m)`. Infinite λ takes `w_s = c_s p_s` as it is: signals whose errors
have little in common are best averaged. λ and C are the strongest and simplest whose leave-one-out error `log damage − log prediction`
is within one standard error of the least; what is reported is the rank correlation (Spearman) of those predictions with the damage, for
it is ranks that a solver lives on.

Source: section 5 of the signal survey this library was built on (own protocol); ridge regression as in Hoerl and Kennard, Technometrics 12,
1970; the rule of one standard error in Breiman et al., Classification and Regression Trees, 1984; saturation as in `coverage`.
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

_SHRINKAGES = (math.inf, 1.0, 0.1, 0.0)
"""λ to try, from weights that are given by precision alone to weights that are free."""

_CEILINGS = (math.inf, 3.0, 1.3)
"""C to try, in units of the largest measured damage."""

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
    """How a fit is drawn, and where damage saturates (nats)."""

    shrinkage: float
    ceiling: float


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
    chosen, left_out = _chosen(features[:, telling], measured)
    correlation = rank_correlation(left_out, measured)
    weights = np.zeros(len(tables))
    weights[telling] = _fit(features[:, telling], measured, chosen)
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
            **({} if math.isinf(chosen.ceiling) else {"ceiling": chosen.ceiling}),
            **{f"weight of {name}": float(weight) for name, weight in zip(names, weights, strict=True)},
            **{f"share of {name}": float(share) for name, share in zip(names, shares, strict=True)},
            **{f"correlation of {name}": rho for name, rho in alone.items()},
        },
    )
    return Mixture(
        table=table,
        weights=dict(zip(names, weights.tolist(), strict=True)),
        shares=dict(zip(names, shares.tolist(), strict=True)),
        ceiling=chosen.ceiling,
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


def _chosen(features: Floats, measured: Floats) -> tuple[_Candidate, Floats]:
    """The strongest shrinkage, then the highest ceiling, within one standard error of the least error; and its predictions `[M]`."""
    candidates = [_Candidate(shrinkage, share * float(measured.max())) for shrinkage in _SHRINKAGES for share in _CEILINGS]
    left_out = [_left_out(features, measured, candidate) for candidate in candidates]
    errors = np.array([_errors(total, measured, candidate) for total, candidate in zip(left_out, candidates, strict=True)])
    above = errors - errors[int(np.argmin(errors.mean(axis=1)))]
    close = above.mean(axis=1) <= above.std(axis=1) / math.sqrt(len(measured))
    first = int(np.argmax(close))
    return candidates[first], left_out[first]


def _errors(totals: Floats, measured: Floats, how: _Candidate) -> Floats:
    """Squared errors of log damage `[M]`; a common factor is forgiven."""
    damage = totals if math.isinf(how.ceiling) else -how.ceiling * np.expm1(-totals / how.ceiling)
    errors = np.log(np.maximum(damage, _TINY)) - np.log(measured)
    return np.asarray((errors - np.median(errors)) ** 2)


def _fit(features: Floats, measured: Floats, how: _Candidate) -> Floats:
    """Non-negative weights `[S]` of the signals."""
    additive = measured if math.isinf(how.ceiling) else -how.ceiling * np.log1p(-measured / how.ceiling)
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
    """`[M]` totals `Σ_s w_s T_s`, each by weights that were fitted to the other allocations."""
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
