"""The prior mean of the loss: a mixture of the signals, whose weights are fitted to the measurements.

    log loss at rung r ≈ o_r + s_r · m(x),   m(x) = log(a + C·(1 − exp(−D(x)/C))),   D(x) = Σ_t w_t T_t(x) / u_t,   w_t ≥ 0, Σ w_t = 1

`T_t` are the signals' totals, `u_t` the least total of each within the budgets; `a` is the loss that bits do not change and `C` the level
at which damage saturates, both in units of D. With few measurements the parameters stay near their defaults: equal weights and a high C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats

__all__ = ["Prior", "fit_prior"]

_SPREAD = 0.3
"""Expected residual of the mean, nats of log loss."""
_FLOOR = (np.log(0.3), 1.5)
"""Mean and deviation of log a."""
_CEILING = (np.log(30.0), 1.0)
"""Mean and deviation of log C."""
_WEIGHT = 1.0
"""Deviation of the mixture's logits."""
_SLOPE = (0.8, 0.5)
"""Median of a slope, and deviation of its log; wide, so that a signal that does not predict soon loses its influence."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The fitted mean.

    Args:
        weights: float64 `[T]`, ≥ 0, sum 1.
        floor: a.
        ceiling: C.
        offsets: o_r, float64 `[R]`, nats of log loss.
        slopes: s_r, float64 `[R]`, > 0.
    """

    weights: Floats
    floor: float
    ceiling: float
    offsets: Floats
    slopes: Floats

    def damage(self, totals: Floats) -> Floats:
        """D, float64 `[N]`, of totals `[N, T]` in units of `u`."""
        return np.asarray(totals @ self.weights)

    def mean(self, damage: Floats) -> Floats:
        """The mean m(D), elementwise."""
        return np.asarray(np.log(self.floor - self.ceiling * np.expm1(-damage / self.ceiling)))

    def slope(self, damage: float) -> float:
        """dm/dD; m is concave in D, so its tangent bounds it from above."""
        return float(np.exp(-damage / self.ceiling) / (self.floor - self.ceiling * np.expm1(-damage / self.ceiling)))


def fit_prior(totals: Floats, rungs: NDArray[np.intp], values: Floats, count: int) -> Prior:
    """Maximum a posteriori by least squares.

    Args:
        totals: float64 `[N, T]`, signals' totals of what was measured, in units of `u`; T ≥ 1.
        rungs: int `[N]`, rung of each measurement.
        values: float64 `[N]`, log loss.
        count: R, number of rungs.

    Returns:
        The prior; with N = 0 its defaults.
    """
    from scipy.optimize import least_squares

    # Where the parts of theta begin: at 0 all logits but the first, then log a and log C, then the offsets, then the logs of the slopes.
    levels = totals.shape[1] - 1
    offsets = levels + 2
    slopes = offsets + count
    start = np.concatenate([np.zeros(levels), [_FLOOR[0], _CEILING[0]], np.zeros(count), np.full(count, np.log(_SLOPE[0]))])

    def logits(theta: Floats) -> Floats:
        return np.concatenate([[0.0], theta[:levels]])

    def unpack(theta: Floats) -> Prior:
        weights = np.exp(logits(theta) - logits(theta).max())
        return Prior(
            weights=weights / weights.sum(),
            floor=float(np.exp(theta[levels])),
            ceiling=float(np.exp(theta[levels + 1])),
            offsets=theta[offsets:slopes],
            slopes=np.exp(theta[slopes:]),
        )

    default = unpack(start)
    if not len(values):
        return default
    expected = default.slopes[0] * default.mean(default.damage(totals))
    for rung in np.unique(rungs):
        start[offsets + rung] = np.median((values - expected)[rungs == rung])

    def residuals(theta: Floats) -> Floats:
        prior = unpack(theta)
        fitted = prior.offsets[rungs] + prior.slopes[rungs] * prior.mean(prior.damage(totals))
        return np.concatenate(
            [
                (values - fitted) / _SPREAD,
                (logits(theta) - logits(theta).mean()) / _WEIGHT,
                [(theta[levels] - _FLOOR[0]) / _FLOOR[1], (theta[levels + 1] - _CEILING[0]) / _CEILING[1]],
                (theta[slopes:] - np.log(_SLOPE[0])) / _SLOPE[1],
                (theta[offsets:slopes] - start[offsets:slopes]) / 10.0,
            ]
        )

    reach = np.full(len(start), 20.0)
    answer = least_squares(residuals, start, bounds=(start - reach, start + reach), loss="linear", max_nfev=60)
    return unpack(np.asarray(answer.x, dtype=np.float64))
