"""`mix`: a weighted sum of several signals, fitted to measured losses of a few allocations.

    loss(x) ≈ a + Σ_s w_s T_s(x),   w_s ≥ 0

`T_s` are the tables' totals; `a` is the part that does not depend on bits: almost nothing of a divergence from the float network, most of a
loss after training. Errors are relative, `1 − (a + Σ_s w_s T_s) / y_m` for measured `y_m`, so small and large losses have equal weight.
With a few dozen measurements free weights would overfit, so the fit is shrunk towards weights that need no fit:

    minimise over w ≥ 0    mean_m (ỹ_m − Σ_s w̃_s T̃_s(x_m))² + λ Σ_s (w̃_s − k p_s)²

in standard units, marked ~: every signal and the loss minus their mean and divided by their deviation, both weighted by `1/y_m²`. `p_s` is
a signal's share by precision, `ρ_s² / (1 − ρ_s²)` with its correlation ρ_s with the loss, 0 if ρ_s is negative, and `k` the scale at which
these shares fit best. An infinite λ uses the shares unchanged: signals with nearly independent errors are best averaged. λ is the largest
value whose leave-one-out rank agreement is within one standard error of the best: each allocation is ranked among the others by weights
fitted without it. The reported correlation is the leave-one-out rank correlation at this λ, since the solver depends only on ranks.

Source: own protocol; ridge regression as in Hoerl and Kennard, Technometrics 12, 1970; the one-standard-error rule in Breiman et al.,
Classification and Regression Trees, 1984.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import DataError
from mpsearch.core.table import Table
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs

__all__ = ["MIX", "Mixture", "mix", "rank_correlation"]

Floats = NDArray[np.float64]

_SHRINKAGES = (math.inf, 1.0, 0.3, 0.1, 0.03)
"""Candidates of λ, from weights given by precision alone to almost free weights."""

_FEWEST = 4
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A fitted mixture.

    Args:
        table: `Σ_s w_s T_s`, nats, `[L, C]`; input of the solver.
        weights: by signal name, zero for those left out.
        shares: share of each signal in `Σ_s w_s T_s`, averaged over the measured allocations.
        floor: a, nats.
        shrinkage: λ.
        correlation: Spearman's ρ of leave-one-out ranks.
        alone: Spearman's ρ of each signal alone.
    """

    table: Table
    weights: Mapping[str, float]
    shares: Mapping[str, float]
    floor: float
    shrinkage: float
    correlation: float
    alone: Mapping[str, float]

    def predict(self, allocation: Allocation) -> float:
        """Expected loss in nats."""
        return self.floor + self.table.total(allocation)


def mix(tables: Sequence[Table], allocations: Sequence[Allocation], losses: Sequence[float]) -> Mixture:
    """Fit on M measured allocations.

    Args:
        tables: signals over the same layers and choices, distinct names.
        allocations: M of them, near the budgets that matter.
        losses: M measured losses in nats, or divergences from the float network. Values ≤ 0 count as the smallest positive one.

    Raises:
        DataError: there is no signal, there are fewer than four measured allocations, losses are not finite or all equal, or no signal
            distinguishes the allocations.
    """
    began = time.perf_counter()
    measured = _checked(tables, allocations, losses)
    names = [table.name for table in tables]
    features = np.array([[table.total(allocation) for table in tables] for allocation in allocations])
    alone = {name: rank_correlation(features[:, s], measured) for s, name in enumerate(names)}
    informative = [s for s in range(len(tables)) if np.ptp(features[:, s]) > 0 and (features[:, s] > 0).all()]
    if not informative:
        raise DataError(f"no signal of {', '.join(names)} tells the measured allocations centred; compute another")
    shrinkage, correlation = _chosen(features[:, informative], measured)
    weights = np.zeros(len(tables))
    weights[informative] = _fit(features[:, informative], measured, shrinkage)
    floor = float(np.average(measured - features @ weights, weights=measured**-2.0))
    parts = features * weights
    shares = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    weight_of, share_of = (dict(zip(names, values.tolist(), strict=True)) for values in (weights, shares))
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
            "floor": floor,
            **{f"weight of {name}": weight for name, weight in weight_of.items()},
            **{f"share of {name}": share for name, share in share_of.items()},
            **{f"correlation of {name}": rho for name, rho in alone.items()},
        },
    )
    return Mixture(table=table, weights=weight_of, shares=share_of, floor=floor, shrinkage=shrinkage, correlation=correlation, alone=alone)


def rank_correlation(predicted: Floats, measured: Floats) -> float:
    """Spearman's ρ; 0 if one side is constant."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, measured).statistic)


def _checked(tables: Sequence[Table], allocations: Sequence[Allocation], losses: Sequence[float]) -> Floats:
    if not tables:
        raise DataError("a mixture needs signals; there is none")
    if len(allocations) != len(losses) or len(losses) < _FEWEST:
        raise DataError(f"a mixture needs at least {_FEWEST} measured allocations, got {len(losses)}; measure more")
    measured = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(measured).all():
        raise DataError("a mixture needs finite measured losses; leave out the allocations whose loss is not")
    if not (measured > 0).any() or np.ptp(measured) == 0:
        raise DataError("all measured allocations lose the same, so nothing tells the signals centred; measure fewer bits")
    floor = float(measured[measured > 0].min())
    return np.maximum(measured, floor)


def _chosen(features: Floats, measured: Floats) -> tuple[float, float]:
    """(the largest λ whose leave-one-out rank agreement is within one standard error of the best, its ρ)."""
    sides = [_sides(features, measured, shrinkage) for shrinkage in _SHRINKAGES]
    agreement = np.array([(side * np.sign(measured[:, None] - measured)).sum(axis=1) / (len(measured) - 1) for side in sides])
    behind = agreement[int(agreement.mean(axis=1).argmax())] - agreement
    close = behind.mean(axis=1) <= behind.std(axis=1) / math.sqrt(len(measured))
    first = int(np.argmax(close))
    return _SHRINKAGES[first], rank_correlation(sides[first].sum(axis=1), measured)


def _sides(features: Floats, measured: Floats, shrinkage: float) -> Floats:
    """`[M, M]`: whether allocation m is predicted above (1) or below (-1) each of the others, by weights fitted without it."""
    others = ~np.eye(len(measured), dtype=np.bool_)
    totals = [features @ _fit(features[keep], measured[keep], shrinkage) for keep in others]
    return np.array([np.sign(total[m] - total) for m, total in enumerate(totals)])


def _fit(features: Floats, measured: Floats, shrinkage: float) -> Floats:
    """Non-negative weights `[S]` of the signals `[M, S]`."""
    from scipy.optimize import nnls

    rows = measured**-2.0 / (measured**-2.0).sum()
    target, spread = _standard(measured[:, None], rows)
    signals, scales = _standard(features, rows)
    fit = np.clip(signals.T @ target[:, 0], 0.0, 1.0)
    shares = fit**2 / (1 - fit**2 + 1e-3)
    shares = shares / shares.sum() if shares.any() else np.full(len(fit), 1 / len(fit))
    combined = signals @ shares
    scale = max(float(combined @ target[:, 0]), 0.0) / max(float(combined @ combined), _TINY)
    shares *= scale or 1.0  # no signal correlates with the loss: equal weights
    if not math.isinf(shrinkage):
        pull = math.sqrt(shrinkage) * np.eye(len(fit))
        free, _ = nnls(np.vstack([signals, pull]), np.concatenate([target[:, 0], pull @ shares]))
        shares = free if free.any() else shares
    return np.asarray(shares * spread / np.where(scales > _TINY, scales, math.inf))  # a constant signal has no weight


def _standard(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """(`[M, K]` minus their mean, divided by their deviation and times `√rows`, so that sums of squares are 1; the deviations `[K]`)."""
    centred = columns - rows @ columns
    scales = np.maximum(np.sqrt(rows @ centred**2), _TINY)
    return np.sqrt(rows)[:, None] * centred / scales, scales


def _combine(inputs: SignalInputs) -> Table:
    if not inputs.tables or not inputs.measured:
        raise DataError("signal 'mix' weighs other signals by measured allocations; give it both")
    table = mix(inputs.tables, [allocation for allocation, _ in inputs.measured], [loss for _, loss in inputs.measured]).table
    inputs.report(1, 1)
    return table


MIX = SIGNALS.register("mix")(
    Signal(
        name="mix",
        paper="own protocol; ridge: Hoerl and Kennard, Technometrics 12, 1970",
        description="weighted sum of the other signals, fitted to measured losses of random allocations near the budgets",
        function=_combine,
        passes=lambda space, batches: (0.0, 0.0),  # the allocations are measured before
        combines=True,
    )
)
