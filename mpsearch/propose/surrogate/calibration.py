"""Quality of a surrogate, by its leave-one-out predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpsearch.core.arrays import Floats

__all__ = ["PredictionQuality", "calibration_of"]

_HALF, _NINETY = 0.6744897501960817, 1.6448536269514722
"""Half-widths of the central 50 % and 90 % of a normal distribution, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class PredictionQuality:
    """Quality of N leave-one-out predictions.

    Args:
        count: N.
        correlation: Spearman's ρ of predicted and measured log loss; 0 where one is constant or N < 3.
        error: root mean squared error, nats of log loss.
        covered50: share of measurements inside their 50 % interval.
        covered90: share inside their 90 % interval.
    """

    count: int
    correlation: float
    error: float
    covered50: float
    covered90: float


def calibration_of(measured: Floats, mean: Floats, deviation: Floats) -> PredictionQuality:
    """Compare measurements with predictions, float64 `[N]` each."""
    away = np.abs(measured - mean) / deviation
    count = len(measured)
    return PredictionQuality(
        count=count,
        correlation=_spearman(measured, mean) if count > 2 else 0.0,
        error=float(np.sqrt(np.square(measured - mean).mean())) if count else 0.0,
        covered50=float((away <= _HALF).mean()) if count else 0.0,
        covered90=float((away <= _NINETY).mean()) if count else 0.0,
    )


def _spearman(first: Floats, second: Floats) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
