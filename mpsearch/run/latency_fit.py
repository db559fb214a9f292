"""`checked_sum`: the sum over layers beside whole networks, and the correction that makes up for what the layers alone do not show."""

from __future__ import annotations

import numpy as np

from mpsearch.core.arrays import Floats
from mpsearch.costs.latency_profile import Correction, LatencyProfile, SumCheck

__all__ = ["checked_sum"]

_FEWEST = 4
"""Networks for a line with two free numbers, and some to hold out."""


def checked_sum(profile: LatencyProfile) -> tuple[SumCheck, Correction | None]:
    """Relative errors of the sum over layers, plain and corrected, and the correction if it is better on networks held out of its fit.

    `seconds = fixed + slope · sum` is fitted by least squares. Each network is predicted by the fit to all others. The correction is kept
    if that lowers both the median and the root mean square of the relative errors.

    Args:
        profile: with cells and whole networks.
    """
    predicted = np.array([profile.sum_of(network.choices) for network in profile.networks])
    measured = np.array([network.timing.median for network in profile.networks])
    summed = np.abs(predicted - measured) / measured
    check = SumCheck(networks=len(measured), median=float(np.median(summed)), largest=float(summed.max()))
    fit = _fit(predicted, measured)
    if fit is None or len(measured) < _FEWEST:
        return check, None
    held_out = np.empty_like(summed)
    for index in range(len(measured)):
        others = np.arange(len(measured)) != index
        own = _fit(predicted[others], measured[others])
        if own is None:
            return check, None
        held_out[index] = abs(own.fixed + own.slope * predicted[index] - measured[index]) / measured[index]
    check = SumCheck(
        networks=check.networks,
        median=check.median,
        largest=check.largest,
        corrected_median=float(np.median(held_out)),
        corrected_largest=float(held_out.max()),
    )
    better = np.median(held_out) < np.median(summed) and np.square(held_out).mean() < np.square(summed).mean()
    return check, fit if better and _takes_time(profile, fit) else None


def _fit(predicted: Floats, measured: Floats) -> Correction | None:
    """The line; None where the sums are all alike, or the line falls."""
    spread = predicted - predicted.mean()
    square = float(spread @ spread)
    if square <= (1e-9 * float(predicted.mean())) ** 2 * len(predicted):
        return None
    slope = float(spread @ measured) / square
    return Correction(fixed=float(measured.mean() - slope * predicted.mean()), slope=slope) if slope > 0 else None


def _takes_time(profile: LatencyProfile, fit: Correction) -> bool:
    """Whether the fastest network that the cells allow is left with a time above zero."""
    fastest = sum(min((timing.median for timing in cells.values()), default=0.0) for cells in profile.cells.values())
    return fit.fixed + fit.slope * (fastest - profile.spare_calls) > 0
