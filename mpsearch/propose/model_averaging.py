"""Bayesian model averaging: several prior models of the loss, weighted by their posterior probability.

    P(b | y) ∝ odds_b · p(y | b),   p(y | b) the marginal likelihood of the surrogate fitted under b

Signals of the float network need not rank what a trial measures: after training, or with shared weights, they can mislead. So there is a
second prior model, which knows only the error of a uniform grid. Both are fitted to the same measurements, and the expected improvement
of a proposal is the mean of theirs, weighted by their posterior probabilities.

Source: Hoeting, Madigan, Raftery and Volinsky, "Bayesian Model Averaging: A Tutorial", Statistical Science 14(4), 1999, section 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.prior_signals import PriorSignal
from mpsearch.propose.surrogate.kernel import Metric
from mpsearch.propose.surrogate.model import Evidence, Surrogate, fit_surrogate

__all__ = ["PriorModel", "posterior_weights", "prior_model"]


@dataclass(frozen=True, kw_only=True)
class PriorModel:
    """A prior mean and a metric that a surrogate is fitted under.

    Args:
        odds: prior probability, up to a common factor, > 0.
        signals: in units of their least total within the budgets, 0 off the menus, float64 `[T, G, C]`.
        metric: distances; groups weighted by the damage these signals say they can do.
    """

    odds: float
    signals: Floats
    metric: Metric

    def fitted(self, evidence: Evidence, rungs: int, named: Sequence[int] = ()) -> Surrogate:
        """The surrogate fitted to N measurements at R rungs; it is conditioned on those that are `named`, however many there are."""
        return fit_surrogate(self.metric, self.signals, evidence, rungs, named)


def prior_model(signals: Sequence[PriorSignal], optima: Sequence[Picks], indexed: IndexedSpace, odds: float) -> PriorModel:
    """The prior model of a mixture of signals.

    Args:
        signals: T ≥ 1.
        optima: their exact optima within the budgets, int `[G]` each.
        indexed: the space.
        odds: > 0.
    """
    scaled = np.array([signal.values / _unit(signal.values, picks) for signal, picks in zip(signals, optima, strict=True)])
    metric = Metric(coordinates=np.log2(indexed.bits), shares=_shares(scaled.mean(axis=0), indexed.allowed))
    return PriorModel(odds=odds, signals=scaled, metric=metric)


def posterior_weights(priors: Sequence[PriorModel], surrogates: Sequence[Surrogate]) -> Floats:
    """Posterior probability P(b | y) of each model, float64 `[B]`, sum 1, given the surrogate fitted under it."""
    logits = np.log([prior.odds for prior in priors]) + np.array([surrogate.likelihood for surrogate in surrogates])
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _unit(values: Floats, optimum: Picks) -> float:
    """The least total within the budgets, but at least a thousandth of the largest total."""
    least = float(values[np.arange(len(optimum)), optimum].sum())
    return max(least, 1e-3 * float(values.max(axis=1).sum()))


def _shares(damage: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Weight of each group in the kernel: one half equal for all groups that can vary, the other by the root of their largest damage."""
    free = (allowed.sum(axis=1) > 1).astype(np.float64)
    if not free.any():
        return np.full(len(free), 1.0 / len(free))
    stake = np.sqrt(damage.max(axis=1)) * free
    stake = stake / stake.sum() if stake.sum() > 0 else free / free.sum()
    return np.asarray(0.5 * free / free.sum() + 0.5 * stake)
