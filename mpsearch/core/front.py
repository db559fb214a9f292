"""The shape of a front: its knee, and the few points that stand for all of it.

A front is N points, cheapest first, of which each is better than all cheaper ones. Both functions look at it in a unit square: the cost
from its least to its largest, by its logarithm where all costs are above zero, since half of a size is half of it at any size; the error
alike, without the logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpsearch.core.arrays import Floats

__all__ = ["knee", "representatives"]


def knee(costs: Sequence[float], errors: Sequence[float]) -> int:
    """Index of the point that lies farthest below the line between both ends; the cheapest such point, the last one if none is below.

    Args:
        costs: `[N]`, N ≥ 1, ascending.
        errors: `[N]`, descending.

    Raises:
        ValueError: not a front.

    Source:
        Das, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary Intersection", Structural Optimization 18, 1999.
    """
    x, y = _square(costs, errors)
    below = 1.0 - x - y
    below[[0, -1]] = 0.0  # the ends are on the line
    deepest = int(np.argmax(below))
    return deepest if below[deepest] > 0 else len(x) - 1


def representatives(costs: Sequence[float], errors: Sequence[float], count: int) -> list[int]:
    """Indices, ascending, of `count` points: both ends, and those that together with them dominate the largest area.

        max Σ_k (x_{k+1} − x_k) · (1 − y_k)   over the chosen points, by dynamic programming in O(count · N²)

    Where a front is straight they are spread evenly; where it bends they are close, so a knee is among them. All points if there are no
    more than `count`; of two equal choices the cheaper points. With a count of 1, the dearest point.

    Args:
        costs: `[N]`, N ≥ 1, ascending.
        errors: `[N]`, descending.
        count: ≥ 1.

    Raises:
        ValueError: not a front, or a count below 1.

    Source:
        Auger, Bader, Brockhoff and Zitzler, "Theory of the hypervolume indicator: optimal μ-distributions and the choice of the reference
        point", FOGA 2009, for what such points look like.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    x, y = _square(costs, errors)
    last = len(x) - 1
    if len(x) <= count:
        return list(range(len(x)))
    if count == 1:
        return [last]
    gain = (x[None, :] - x[:, None]) * (1.0 - y)[:, None]  # of point j as the next one after point i
    gain[np.tril_indices(len(x))] = -np.inf
    area = np.where(np.arange(len(x)) == 0, 0.0, -np.inf)
    before: list[list[int]] = []
    for _ in range(count - 1):
        reached = area[:, None] + gain
        before.append(reached.argmax(axis=0).tolist())
        area = reached.max(axis=0)
    chosen = [last]
    for step in reversed(before):
        chosen.append(step[chosen[-1]])
    return chosen[::-1]


def _square(costs: Sequence[float], errors: Sequence[float]) -> tuple[Floats, Floats]:
    x, y = np.array(costs, dtype=np.float64), np.array(errors, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not np.isfinite([x, y]).all():
        raise ValueError("a front is one or more finite costs, and as many errors")
    if (np.diff(x) <= 0).any() or (np.diff(y) >= 0).any():
        raise ValueError("in a front the costs ascend and the errors descend")
    x = np.log(x) if x[0] > 0 else x
    return _unit(x), _unit(y)


def _unit(values: Floats) -> Floats:
    span = float(np.ptp(values))
    return np.asarray((values - values.min()) / span if span > 0 else np.zeros_like(values))
