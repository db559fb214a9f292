"""`ErrorLink`: the validation error that goes with a loss, as a line between their logarithms, and how sure one may be of it.

    log error = c + k · log loss + ε,   ε ~ N(0, s²)

A bound is asked for in the error (an accuracy to keep), while the surrogate predicts the loss, which is smoother. The line is fitted by
Bayesian regression to all trials; before there are any it goes through the float network with slope one. The variance s² has an inverse
gamma prior of `_COUNT` degrees of freedom, and is iterated with the line.

Source: Murphy, "Machine Learning: A Probabilistic Perspective", 2012, section 7.6, for the regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpsearch.core.arrays import Floats

__all__ = ["ErrorLink"]

_LEVEL = 0.3
"""Deviation of c: the log error at the loss of the float network, around that network's error."""
_SLOPE = (1.0, 0.5)
"""Mean and deviation of k."""
_SPREAD = 0.15
"""Prior s, nats of log error."""
_COUNT = 1.0
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class ErrorLink:
    """The line.

    Args:
        centre: log loss at which the line is pinned.
        line: (c, k), c at the centre, float64 `[2]`.
        covariance: of both, float64 `[2, 2]`.
        variance: s².
    """

    centre: float
    line: Floats
    covariance: Floats
    variance: float

    @classmethod
    def fitted(cls, losses: Floats, errors: Floats, anchor: tuple[float, float]) -> ErrorLink:
        """Fit to N pairs.

        Args:
            losses: log losses, float64 `[N]`, N ≥ 0.
            errors: log errors, float64 `[N]`.
            anchor: (log loss, log error) of the float network.
        """
        centre, level = anchor
        prior, mean = np.diag([_LEVEL**-2, _SLOPE[1] ** -2]), np.array([level, _SLOPE[0]])
        inputs = np.stack([np.ones(len(losses)), losses - centre], axis=1)
        variance = _SPREAD**2
        for _ in range(_ROUNDS):
            covariance = np.linalg.inv(prior + inputs.T @ inputs / variance)
            line = covariance @ (prior @ mean + inputs.T @ errors / variance)
            left = float(np.square(errors - inputs @ line).sum() + np.einsum("ni,ij,nj->", inputs, covariance, inputs))
            variance = (_COUNT * _SPREAD**2 + left) / (_COUNT + len(losses))
        return cls(centre=centre, line=line, covariance=np.asarray(covariance, dtype=np.float64), variance=variance)

    @classmethod
    def identity(cls) -> ErrorLink:
        """Of a surrogate that predicts the log error itself."""
        return cls(centre=0.0, line=np.array([0.0, 1.0]), covariance=np.zeros((2, 2)), variance=0.0)

    def chance(self, mean: Floats, deviation: Floats, bound: float) -> Floats:
        """Probability that the log error is at most `bound`, float64 `[M]`, where the log loss is N(mean, deviation²)."""
        from scipy.special import ndtr

        inputs = np.stack([np.ones(len(mean)), mean - self.centre])
        variance = np.square(self.line[1] * deviation) + self.variance + np.einsum("in,ij,jn->n", inputs, self.covariance, inputs)
        return np.asarray(ndtr((bound - self.line @ inputs) / np.sqrt(variance)))
