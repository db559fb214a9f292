"""What a run is worth, trial by trial: regret and hypervolume, and both over many runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.contest import Contest

__all__ = ["hypervolume", "regret"]

Floats = NDArray[np.float64]


def regret(contest: Contest, trials: Sequence[int], length: int) -> Floats:
    """`least loss so far / least loss within the budget − 1` after 1 … `length` trials; infinite before the first find.

    A search that has no more to say keeps what it found.
    """
    found = np.full(length, np.inf)
    kept = [contest.truth.loss.flat[position] if position >= 0 else np.inf for position in trials[:length]]
    found[: len(kept)] = kept
    return np.asarray(np.minimum.accumulate(found) / contest.optimum - 1)


def hypervolume(contest: Contest, trials: Sequence[int], counts: Sequence[int]) -> Floats:
    """Area that the trials so far dominate in (bytes, ln loss), as a share of what the whole table dominates; a value for each count.

    The area ends at the limit and at the median loss of all allocations within it.
    """
    truth = contest.truth
    sizes, losses = truth.bytes.ravel(), np.log(truth.loss.ravel())
    inside = contest.feasible.ravel()
    reference = float(np.median(losses[inside]))
    whole = _area(sizes[inside], losses[inside], contest.limit, reference)
    places = np.array([position for position in trials if position >= 0], dtype=np.intp)
    # A trial in which nothing was found counts, but adds no point.
    points = np.cumsum([position >= 0 for position in trials])
    until = [int(points[min(count, len(points)) - 1]) if len(points) else 0 for count in counts]
    return np.array([_area(sizes[places[:n]], losses[places[:n]], contest.limit, reference) / whole for n in until])


def _area(sizes: NDArray[np.int64], losses: Floats, limit: int, reference: float) -> float:
    """Area between the points' lower left staircase and the corner (limit, reference)."""
    order = np.argsort(sizes, kind="stable")
    sizes, best = sizes[order], np.minimum.accumulate(np.minimum(losses[order], reference)) if len(order) else losses
    widths = np.diff(np.append(np.minimum(sizes, limit), limit))
    return float(((reference - best) * widths).sum())
