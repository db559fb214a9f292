"""The coverage model of saturating damage: its Aumann-Shapley values, and the inversion from values to coefficients.

    f(S) = C · (1 − Π_{l∈S} (1 − a_l)) = C · (1 − e^{−Σ_{l∈S} b_l})        b_l = −log(1 − a_l) ≥ 0, C the ceiling
    φ_l  = C · a_l · ∫₀¹ Π_{j≠l} (1 − t·a_j) dt                            Σ_l φ_l = f(all)

Under the model `f` is one function of `Σ b`, so non-additive damages are ranked by additive coefficients.

Source: the coverage model of Hill, arXiv 2607.12266; the values are those of Aumann and Shapley, Values of Non-Atomic Games, 1974.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["aumann_shapley", "coefficients", "common_ceiling", "damage"]

Floats = NDArray[np.float64]

_STEPS = 200
_RAISE = 1.3
_RAISES = 9
_LARGEST_SHARE = 0.995

# The integrand is a product of falling lines: 64 points integrate it exactly for 128 layers and to machine precision for more.
_NODES, _WEIGHTS = (array / 2 for array in np.polynomial.legendre.leggauss(64))
_NODES = _NODES + 0.5


def damage(total: float, ceiling: float) -> float:
    """`C · (1 − e^{−total/C})`: the damage that a sum of `C · b` predicts, in its unit; the sum itself if the ceiling is 0.

    Args:
        total: `Σ_l C·b_l`, such as the total of a `coverage` table.
        ceiling: C, such as that table's `cost["ceiling"]`.
    """
    return float(-ceiling * np.expm1(-total / ceiling)) if ceiling > 0 else total


def aumann_shapley(b: Floats, ceiling: float) -> Floats:
    """Values φ `[L]` of the coverage model with coefficients b `[L]`, in the unit of the ceiling."""
    a = -np.expm1(-b)
    values: Floats = ceiling * a * _others(a)
    return values


def coefficients(values: Floats, ceiling: float) -> Floats | None:
    """Coefficients b `[L]` of the coverage model whose Aumann-Shapley values are `values`; None if none are found.

    Fixed point `a_l ← φ_l / (C ∫ Π_{j≠l} (1 − t·a_j) dt)`, with b rescaled at every step to the
    known sum `Σ b = −log(1 − Σφ/C)`. The shares converge in about ten to forty steps, also for sums near the ceiling.

    Args:
        values: φ, not negative.
        ceiling: above their sum.
    """
    everything = values.sum()
    if everything == 0:
        return np.zeros_like(values)
    if everything >= ceiling:
        return None
    total = -np.log1p(-everything / ceiling)
    b = total * values / everything
    for _ in range(_STEPS):
        a = values / (ceiling * _others(-np.expm1(-b)))
        if a.max() >= 1:
            a = np.minimum(a, 1 - 1e-9)
        following = -np.log1p(-a)
        following *= total / following.sum()
        done = np.abs(following - b).max() <= 1e-13 * total
        b = following
        if done:
            return b
    return b if np.abs(aumann_shapley(b, ceiling) - values).max() <= 1e-9 * everything else None


def common_ceiling(values: Sequence[Floats], start: float) -> float:
    """The lowest ceiling of `start · 1.3^n`, n ≤ 9, at which all sets of `values` have coefficients with a < 0.995.

    Args:
        values: several sets of φ, each `[L]`.
        start: no less than the largest of their sums.
    """
    ceiling = start
    for _ in range(_RAISES):
        found = [coefficients(phi, ceiling) for phi in values]
        if all(b is not None and (b.max(initial=0.0) < -np.log1p(-_LARGEST_SHARE)) for b in found):
            break
        ceiling *= _RAISE
    return ceiling


def _others(a: Floats) -> Floats:
    """`∫₀¹ Π_{j≠l} (1 − t·a_j) dt`, `[L]`."""
    logs = np.log1p(-np.outer(_NODES, a))
    integrals: Floats = _WEIGHTS @ np.exp(logs.sum(1, keepdims=True) - logs)
    return integrals
