"""`Surrogate`: predicts the log loss of an allocation at the deepest rung, with its uncertainty, from measurements at all rungs.

    y_i = o_r + s_r · (m(x_i) + δ(x_i)) + [r > 0] · (γ(x_i) + ρ_r) + ε_i
    δ ~ GP(0, k + v₀² + v₁² m̃ m̃'),   γ ~ GP(0, η² k),   ρ_r ~ N(0, v_r²),   ε_i ~ N(0, noise_r²)

`m` is the prior mean, fitted first. `v₀` and `v₁` leave its intercept and slope uncertain, and `ρ_r` the offset of a later rung, because
the trials that reach it were selected. `γ` is how training changes the ranking: where it is large, the first rung predicts little of the
others. Predictions are for the deepest rung, without its noise.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2, 2.7 and 5.4.2; Kennedy and O'Hagan,
"Predicting the output from a complex computer code when fast approximations are available", Biometrika 87(1), 2000, for rungs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks
from mpsearch.propose.surrogate.calibration import PredictionQuality, calibration_of
from mpsearch.propose.surrogate.evidence import Evidence
from mpsearch.propose.surrogate.fit import default_kernel, fit_kernel
from mpsearch.propose.surrogate.kernel import Kernel, Metric
from mpsearch.propose.surrogate.prior import Prior, fit_prior
from mpsearch.propose.surrogate.subset import best_and_spread, subset_of

__all__ = ["Evidence", "Surrogate", "conditioned", "fit_surrogate"]

_INTERCEPT = 0.5
_SLOPE = 0.2
_OFFSET = 0.5
_LEAST_SLOPE = 0.1
"""A sample may make the mean flatter, but not decreasing."""
_JITTER = 1e-9
_MOST_FITTED = 160
"""Measurements the hyperparameters are fitted on; all of them are conditioned on."""
_FEWEST_FITTED = 3


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A Gaussian process conditioned on measurements; see `fit_surrogate`.

    Args:
        signals: their tables in units of u, float64 `[T, G, C]`.
        metric: distances.
        prior: the mean.
        kernel: the covariance.
        evidence: the measurements.
        residuals: values minus mean, float64 `[N]`.
        damages: D, float64 `[N]`.
        centre: mean of m over the evidence.
        factor: lower Cholesky factor of the covariance of the values, `[N, N]`.
        product: the product part of the kernel between the measurements, `[N, N]`.
    """

    signals: Floats
    metric: Metric
    prior: Prior
    kernel: Kernel
    evidence: Evidence
    residuals: Floats
    damages: Floats
    centre: float
    factor: Floats
    product: Floats

    @cached_property
    def damage_table(self) -> Floats:
        """D by group and choice, float64 `[G, C]`."""
        return np.tensordot(self.prior.weights, self.signals, axes=1)

    @property
    def deepest(self) -> int:
        """The rung that is predicted."""
        return len(self.prior.slopes) - 1

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement at the deepest rung, nats of log loss."""
        return float(self.kernel.noises[self.deepest])

    @property
    def scales(self) -> Floats:
        """The slope s of each measurement, float64 `[N]`."""
        return np.asarray(self.prior.slopes[self.evidence.rungs])

    @cached_property
    def _loads(self) -> Floats:
        """Loadings of each rung on δ and on γ/η, float64 `[2, R]`."""
        return _loads(self.prior, self.kernel)

    @cached_property
    def _pulls(self) -> Floats:
        """Covariance of each measurement with the deepest rung, as a multiple of the kernel, float64 `[N]`."""
        return np.asarray(self._loads[:, self.deepest] @ self._loads[:, self.evidence.rungs])

    def total_damage(self, picks: Picks) -> Floats:
        """D, float64 `[M]`, of allocations `[M, G]`."""
        return np.asarray(self.damage_table[np.arange(picks.shape[1]), picks].sum(axis=1))

    def predict(self, picks: Picks) -> tuple[Floats, Floats]:
        """(mean, deviation) of log loss at the deepest rung, float64 `[M]`, of allocations int `[M, G]`."""
        additive, product = self.metric.between(self.kernel, picks, self.evidence.picks)
        return self.posterior(self.total_damage(picks), additive + product)

    def predict_moves(self, picks: Picks, moves: Picks, steps: Picks) -> tuple[Floats, Floats]:
        """The same for K allocations a few moves from `picks`, far faster with many layers; see `Metric.from_moves`."""
        covariance = self.metric.from_moves(self.kernel, picks, moves, steps, self.evidence.picks)
        table, (group, choice) = self.damage_table, moves.T
        more = np.append(table[group, choice] - table[group, picks[group]], 0.0)
        return self.posterior(self.total_damage(picks[None])[0] + more[steps].sum(axis=1), covariance)

    def posterior(self, damages: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """(mean, deviation) given D `[M]` and the kernel with the evidence `[M, N]`."""
        from scipy.linalg import solve_triangular

        trend = self.prior.mean(damages)
        tilt = trend - self.centre
        own, loads = self.prior.slopes[-1], self._loads[:, -1]
        seen = self.prior.mean(self.damages) - self.centre
        same = _OFFSET**2 * ((self.evidence.rungs == self.deepest) & (self.deepest > 0))
        cross = self._pulls * covariance + own * self.scales * (_INTERCEPT**2 + _SLOPE**2 * np.outer(tilt, seen)) + same
        mean = self.prior.offsets[-1] + own * trend + cross @ self.weights
        before = loads @ loads * (self.kernel.additive**2 + self.kernel.product**2)
        before = before + own**2 * (_INTERCEPT**2 + _SLOPE**2 * tilt**2) + _OFFSET**2 * (self.deepest > 0)
        known = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        return mean, np.sqrt(np.maximum(before - np.square(known).sum(axis=0), 1e-12))

    @cached_property
    def weights(self) -> Floats:
        """K⁻¹ (y − mean), float64 `[N]`."""
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve((self.factor, True), self.residuals, check_finite=False))

    @property
    def likelihood(self) -> float:
        """Log density of the N values under the fitted mean and covariance, nats: −½ rᵀK⁻¹r − ½ log|K| − ½ N log 2π."""
        fit, spread = float(self.residuals @ self.weights), float(np.log(np.diag(self.factor)).sum())
        return -0.5 * fit - spread - 0.5 * len(self.residuals) * math.log(2 * math.pi)

    def linear(self, at: float, random: np.random.Generator | None = None) -> Floats:
        """What each choice adds to log loss near damage `at`, float64 `[G, C]`: the mean's tangent plus the kernel's additive part.

        Of the posterior mean, or, with `random`, of a posterior sample (Matheron's rule). The prior mean is concave in D, so this tangent
        bounds it from above: an allocation with a lower total than the one at `at` has a lower mean, too.

        Source: Wilson et al., "Pathwise Conditioning of Gaussian Processes", arXiv 2011.04026, section 3.
        """
        parts, slope = self._learned if random is None else self._imagined(random)
        return np.asarray(self.prior.slopes[-1] * max(_LEAST_SLOPE, 1 + slope) * self.prior.slope(at) * self.damage_table + parts)

    @cached_property
    def _learned(self) -> tuple[Floats, float]:
        """(additive part at the deepest rung, `[G, C]`; change of the slope of the prior mean) of the posterior mean."""
        return self._pulled(self.weights)

    def _imagined(self, random: np.random.Generator) -> tuple[Floats, float]:
        """The same of a posterior sample: drawn from the prior, then corrected by the evidence."""
        from scipy.linalg import cho_solve

        kernel, shares, near = self.kernel, self.metric.shares, self.kernel.near(self.metric.squares)
        rungs, count = self.evidence.rungs, len(self.residuals)
        root = np.linalg.cholesky(near + _JITTER * np.eye(len(near)))

        def drawn() -> tuple[Floats, Floats]:
            """A sample with the kernel: its additive part `[G, C]`, and its values at the measurements `[N]`."""
            parts = kernel.additive * np.sqrt(shares)[:, None] * (random.standard_normal((len(shares), len(near))) @ root.T)
            product = self._product_root @ random.standard_normal(count)
            return parts, parts[np.arange(len(shares)), self.evidence.picks].sum(axis=1) + product

        parts, imagined = drawn()
        slope = _SLOPE * float(random.standard_normal())
        imagined += slope * (self.prior.mean(self.damages) - self.centre) + _INTERCEPT * float(random.standard_normal())
        imagined, parts = self.scales * imagined, self._loads[0, -1] * parts
        if self.deepest:
            turned, at = drawn()
            imagined, parts = imagined + self._loads[1, rungs] * at, parts + self._loads[1, -1] * turned
        offsets = np.concatenate([[0.0], _OFFSET * random.standard_normal(len(kernel.noises) - 1)])
        noise = kernel.noises[rungs] * random.standard_normal(count)
        against = self.residuals - imagined - offsets[rungs] - noise
        more, steeper = self._pulled(np.asarray(cho_solve((self.factor, True), against, check_finite=False)))
        return parts + more, slope + steeper

    def _pulled(self, weights: Floats) -> tuple[Floats, float]:
        near, pull = self.kernel.near(self.metric.squares), self._pulls * weights
        parts = np.stack([pull @ near[choice][self.evidence.picks] for choice in range(len(near))], axis=1)
        slope = _SLOPE**2 * float((self.prior.mean(self.damages) - self.centre) @ (self.scales * weights))
        return self.kernel.additive**2 * self.metric.shares[:, None] * parts, slope

    @cached_property
    def _product_root(self) -> Floats:
        jitter = _JITTER * self.kernel.product**2 * np.eye(len(self.product))
        return np.asarray(np.linalg.cholesky(self.product + jitter), dtype=np.float64)

    def with_pending(self, picks: Picks) -> Surrogate:
        """The surrogate with the predictions of allocations `[M, G]` as measurements (kriging believer): its uncertainty near them is less.

        Source: Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010, section 4.2.
        """
        values, _ = self.predict(picks)
        evidence = Evidence(
            picks=np.concatenate([self.evidence.picks, picks]),
            rungs=np.concatenate([self.evidence.rungs, np.full(len(picks), self.deepest, dtype=np.intp)]),
            values=np.concatenate([self.evidence.values, values]),
        )
        return conditioned(self.metric, self.signals, evidence, self.prior, self.kernel, centre=self.centre)

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """(mean, deviation) of each measurement given all others, noise included, float64 `[N]`; closed form at fixed hyperparameters.

        `μ_i = y_i − [K⁻¹(y − m)]_i / [K⁻¹]_ii`, `σ_i² = 1 / [K⁻¹]_ii` (Rasmussen and Williams, section 5.4.2).
        """
        from scipy.linalg import cho_solve

        inverse = np.diag(cho_solve((self.factor, True), np.eye(len(self.residuals)), check_finite=False))
        return self.evidence.values - self.weights / inverse, np.sqrt(1.0 / inverse)

    def calibration(self) -> PredictionQuality:
        """Quality of its leave-one-out predictions."""
        mean, deviation = self.leave_one_out()
        return calibration_of(self.evidence.values, mean, deviation)


def fit_surrogate(metric: Metric, signals: Floats, evidence: Evidence, rungs: int, named: Sequence[int] = ()) -> Surrogate:
    """Fit the prior mean and the hyperparameters, and condition on the evidence, or on a subset of it if there is much; see `subset.py`.

    Args:
        metric: distances between choices, and weights of groups.
        signals: `[T, G, C]`, ≥ 0, in units of their least total within the budgets.
        evidence: N measurements, N ≥ 0.
        rungs: R ≥ 1.
        named: measurements that every subset has.
    """
    prior = fit_prior(_totals(signals, evidence.picks), evidence.rungs, evidence.values, rungs)
    evidence = subset_of(evidence, named)
    totals = _totals(signals, evidence.picks)
    kernel = default_kernel(rungs)
    if len(evidence.values) >= _FEWEST_FITTED:
        some = _fitted_on(evidence, prior)
        part = Evidence(picks=evidence.picks[some], rungs=evidence.rungs[some], values=evidence.values[some])
        means = prior.mean(prior.damage(totals[some]))
        scales = prior.slopes[part.rungs]
        residuals = part.values - prior.offsets[part.rungs] - scales * means
        trend = _trend(means - means.mean(), scales, part.rungs)
        kernel = fit_kernel(metric, part.picks, residuals, scales, part.rungs, trend, rungs)
    return conditioned(metric, signals, evidence, prior, kernel)


def conditioned(
    metric: Metric, signals: Floats, evidence: Evidence, prior: Prior, kernel: Kernel, *, centre: float | None = None
) -> Surrogate:
    """The surrogate at given hyperparameters; `centre` is computed from the evidence unless given."""
    damages = prior.damage(_totals(signals, evidence.picks))
    means = prior.mean(damages)
    centre = centre if centre is not None else float(means.mean()) if len(means) else 0.0
    scales = prior.slopes[evidence.rungs]
    additive, product = metric.between(kernel, evidence.picks, evidence.picks)
    loads = _loads(prior, kernel)[:, evidence.rungs]
    covariance = _trend(means - centre, scales, evidence.rungs) + loads.T @ loads * (additive + product)
    covariance[np.diag_indices_from(covariance)] += np.square(kernel.noises)[evidence.rungs]
    return Surrogate(
        signals=signals,
        metric=metric,
        prior=prior,
        kernel=kernel,
        evidence=evidence,
        residuals=evidence.values - prior.offsets[evidence.rungs] - scales * means,
        damages=damages,
        centre=centre,
        factor=np.asarray(np.linalg.cholesky(covariance), dtype=np.float64),
        product=product,
    )


def _loads(prior: Prior, kernel: Kernel) -> Floats:
    """Loadings, `[2, R]`: s_r, and η from the second rung on."""
    return np.stack([prior.slopes, np.where(np.arange(len(prior.slopes)) > 0, kernel.drift, 0.0)])


def _totals(signals: Floats, picks: Picks) -> Floats:
    """Totals of the signals, `[N, T]`."""
    return np.asarray(signals[:, np.arange(picks.shape[1]), picks].sum(axis=2).T)


def _trend(tilts: Floats, scales: Floats, rungs: NDArray[np.intp]) -> Floats:
    """Covariance of intercept, slope and later offsets, `[N, N]`."""
    later = (rungs[:, None] == rungs[None]) & (rungs > 0)[:, None]
    return np.asarray(scales[:, None] * scales[None] * (_INTERCEPT**2 + _SLOPE**2 * np.outer(tilts, tilts)) + _OFFSET**2 * later)


def _fitted_on(evidence: Evidence, prior: Prior) -> NDArray[np.intp]:
    """Indices of the measurements that hyperparameters are fitted on: the best half, and the rest evenly over time."""
    if len(evidence.values) <= _MOST_FITTED:  # else the same, without the arithmetic
        return np.arange(len(evidence.values), dtype=np.intp)
    return best_and_spread((evidence.values - prior.offsets[evidence.rungs]) / prior.slopes[evidence.rungs], _MOST_FITTED)
