"""`PriorModel`: what a surrogate may start from, and how much each of several is posterior_weights after what was measured.

    P(b | y) ∝ odds_b · p(y | b),   p(y | b) the marginal likelihood of the surrogate fitted under b

Signals of the float network need not rank what a trial measures: after training, or with shared weights, they can mislead. So beside the
signals' mixture stands a prior that knows only the error of a uniform grid. Both are fitted to the same measurements, and what is expected
of a proposal is the mean of what they expect of it, weighted by what they are posterior_weights.

Source: Hoeting, Madigan, Raftery and Volinsky, "Bayesian Model Averaging: A Tutorial", Statistical Science 14(4), 1999, section 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.prior_signals import PriorSignal
from mpsearch.propose.surrogate.kernel import Metric
from mpsearch.propose.surrogate.model import Evidence, Surrogate, fit_surrogate

__all__ = ["PriorModel", "posterior_weights", "prior_model"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class PriorModel:
    """One start of a surrogate.

    Args:
        odds: how likely before anything is measured, up to a common factor, > 0.
        signals: in units of their least total within the budgets, 0 off the menus, float64 `[T, G, C]`.
        metric: distances, groups weighted by what these signals say is at stake.
    """

    odds: float
    signals: Floats
    metric: Metric

    def fitted(self, evidence: Evidence, rungs: int) -> Surrogate:
        """To N measurements at R rungs."""
        return fit_surrogate(self.metric, self.signals, evidence, rungs)


def prior_model(signals: Sequence[PriorSignal], optima: Sequence[Picks], indexed: IndexedSpace, odds: float) -> PriorModel:
    """In a mixture of signals.

    Args:
        signals: T ≥ 1.
        optima: their exact optima within the budgets, int `[G]` each.
        indexed: menus and bits.
        odds: > 0.
    """
    allowed = indexed.allowed
    units = np.array([_unit(signal, picks) for signal, picks in zip(signals, optima, strict=True)])
    scaled = np.where(allowed, np.array([signal.values for signal in signals]) / units[:, None, None], 0.0)
    metric = Metric(coordinates=indexed.coordinates, shares=_shares(scaled.mean(axis=0), allowed))
    return PriorModel(odds=odds, signals=scaled, metric=metric)


def posterior_weights(priors: Sequence[PriorModel], surrogates: Sequence[Surrogate]) -> Floats:
    """P(b | y), float64 `[B]`, sum 1, of each prior and the surrogate fitted under it."""
    logits = np.log([prior.odds for prior in priors]) + np.array([surrogate.likelihood for surrogate in surrogates])
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _unit(signal: PriorSignal, optimum: Picks) -> float:
    """The least total within the budgets, unless that is next to nothing beside what the signal can tell."""
    values = signal.values
    least = float(values[np.arange(len(optimum)), optimum].sum())
    return max(least, 1e-3 * float(np.nanmax(np.where(np.isfinite(values), values, np.nan), axis=1).sum()))


def _shares(damage: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Weight of each group in the kernel: half alike for all that can vary, half as the root of what the signals say is at stake."""
    free = (allowed.sum(axis=1) > 1).astype(np.float64)
    if not free.any():
        return np.full(len(free), 1.0 / len(free))
    stake = np.sqrt(np.where(allowed, damage, 0.0).max(axis=1)) * free
    stake = stake / stake.sum() if stake.sum() > 0 else free / free.sum()
    return np.asarray(0.5 * free / free.sum() + 0.5 * stake)
