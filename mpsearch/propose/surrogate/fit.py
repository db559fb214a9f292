"""Hyperparameters of the kernel by maximum a posteriori: L-BFGS on the marginal likelihood with its gradient, priors on all of them.

    −log p(y | θ) − log p(θ) = ½ rᵀK⁻¹r + ½ log|K| + Σ_i ½ ((θ_i − μ_i)/ς_i)² + const,   θ the logarithms of the hyperparameters

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks
from mpsearch.propose.surrogate.kernel import Kernel, Metric

__all__ = ["default_kernel", "fit_kernel"]


# (log of the middle, deviation of the log): amplitudes and noise in nats of log loss, lengths in doublings of bits
_ADDITIVE = (np.log(0.3), 0.7)
_PRODUCT = (np.log(0.2), 0.7)
_LENGTH = (np.log(1.5), 0.5)
_NOMINAL = (np.log(2.0), 0.7)
"""Of the nominal distance: each bit width is a quantizer of its own, whose effect is not a function of its bits alone."""
_STRETCH = (np.log(0.7), 0.5)
_DRIFT = (np.log(0.3), 1.0)
"""Of what a later rung adds, as a multiple of both amplitudes."""
_NOISE = (np.log(0.02), 1.0)
_REACH = 3.0
"""Hyperparameters stay within this many deviations."""
_STEPS = 40


def default_kernel(rungs: int) -> Kernel:
    """The medians of the priors."""
    return _kernel(_middle(rungs)[0])


def fit_kernel(
    metric: Metric, picks: Picks, residuals: Floats, scales: Floats, rungs: NDArray[np.intp], trend: Floats, count: int
) -> Kernel:
    """Fit to N residuals.

    Args:
        metric: distances.
        picks: int `[N, G]`.
        residuals: what the prior mean leaves, float64 `[N]`, nats of log loss.
        scales: how much the latent function is stretched in each, float64 `[N]`.
        rungs: int `[N]`.
        trend: covariance of everything that is not the kernel's, float64 `[N, N]`.
        count: R.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize

    middle, spread = _middle(count)
    histogram = metric.histogram(picks)
    different = metric.kinds[0]
    shared, own = np.outer(scales, scales), np.outer(rungs > 0, rungs > 0)
    identity = np.eye(len(residuals))
    where = [rungs == rung for rung in range(count)]

    def objective(theta: Floats) -> tuple[float, Floats]:
        kernel = _kernel(theta)
        relative = different / np.square(kernel.lengths)
        near = np.exp(-0.5 * relative.sum(axis=1))
        outer = shared + kernel.drift**2 * own
        additive = outer * kernel.additive**2 * np.tensordot(near, histogram, axes=1)
        apart = np.tensordot(relative.T, histogram, axes=1) / kernel.stretch**2
        product = outer * kernel.product**2 * np.exp(-0.5 * apart.sum(axis=0))
        covariance = trend + additive + product
        covariance[np.diag_indices_from(covariance)] += np.square(kernel.noises)[rungs]
        try:
            factor = cho_factor(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = cho_solve(factor, identity, check_finite=False)
        weights = inverse @ residuals
        pull = 0.5 * (inverse - np.outer(weights, weights))
        slopes = [2 * (pull * additive).sum(), 2 * (pull * product).sum()]
        for axis in range(3):
            lengthened = outer * kernel.additive**2 * np.tensordot(near * relative[:, axis], histogram, axes=1) + product * apart[axis]
            slopes.append((pull * lengthened).sum())
        slopes.append((pull * product * apart.sum(axis=0)).sum())
        slopes.append(2 * kernel.drift**2 * (pull * own * (additive + product) / outer).sum())
        slopes += [2 * kernel.noises[rung] ** 2 * np.diag(pull)[mine].sum() for rung, mine in enumerate(where)]
        away = (theta - middle) / spread
        value = 0.5 * residuals @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        return float(value), np.asarray(slopes) + away / spread

    bounds = list(zip(middle - _REACH * spread, middle + _REACH * spread, strict=True))
    answer = minimize(objective, middle, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return _kernel(np.asarray(answer.x, dtype=np.float64))


def _middle(rungs: int) -> tuple[Floats, Floats]:
    table = np.array([_ADDITIVE, _PRODUCT, _LENGTH, _LENGTH, _NOMINAL, _STRETCH, _DRIFT, *[_NOISE] * rungs])
    return table[:, 0], table[:, 1]


def _kernel(theta: Floats) -> Kernel:
    values = np.exp(theta)
    additive, product, weight, activation, nominal, stretch, drift = values[:7].tolist()
    lengths = (weight, activation, nominal)
    return Kernel(additive=additive, product=product, lengths=lengths, stretch=stretch, drift=drift, noises=values[7:])
