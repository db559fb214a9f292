"""Which measurements a Gaussian process is conditioned on, where there are more than its cubic time and square memory allow.

Subset of data: the best half and the rest evenly over time, of each rung, deep rungs first; and what the caller names, such as the best
within each limit. The prior mean is fitted to all measurements. Up to `MOST` measurements nothing is left out.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 8.3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats
from mpsearch.propose.surrogate.evidence import Evidence

__all__ = ["MOST", "best_and_spread", "subset_of"]

MOST = 800
"""Measurements that a surrogate is conditioned on at most."""


def best_and_spread(values: Floats, count: int) -> NDArray[np.intp]:
    """Indices, sorted, of `count` values: the least half, and the rest evenly in the order given; all if there are no more than that."""
    if len(values) <= count:
        return np.arange(len(values), dtype=np.intp)
    order = np.argsort(values, kind="stable")
    rest = np.sort(order[count // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, count - count // 2).round().astype(np.intp)]
    return np.sort(np.concatenate([order[: count // 2], spread])).astype(np.intp)


def subset_of(evidence: Evidence, named: Sequence[int] = (), most: int = MOST) -> Evidence:
    """At most about `most` of N measurements, in their order; the same object if there are no more.

    Args:
        evidence: N measurements.
        named: indices that are kept in any case.
        most: of them, those named apart.
    """
    if len(evidence.values) <= most:
        return evidence
    room, kept = most, [np.asarray(named, dtype=np.intp)]
    for rung in sorted(set(evidence.rungs.tolist()), reverse=True):
        mine = np.flatnonzero(evidence.rungs == rung)
        # Half of the room for each rung but the first, so that deep measurements, which are few and dear, stay as long as they fit.
        chosen = mine[best_and_spread(evidence.values[mine], room if rung == 0 else max(1, room // 2))]
        kept.append(chosen)
        room = max(1, room - len(chosen))
    index = np.unique(np.concatenate(kept))
    return replace(evidence, picks=evidence.picks[index], rungs=evidence.rungs[index], values=evidence.values[index])
