"""Times of calls, taken in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from mpsearch.core.arrays import Floats
from mpsearch.core.interrupt import check_interrupt
from mpsearch.costs.latency_profile import Timing

__all__ = ["in_turns", "timing_of"]

K = TypeVar("K")

_SHORTEST = 2e-4
"""Seconds that a timed stretch takes at least, if `_MOST` calls suffice: a clock reads to about 1e-7."""
_MOST = 200
_WARM = 3


def in_turns(calls: Mapping[K, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter) -> dict[K, Floats]:
    """Seconds of a call, `[repeats]` for each.

    Each call first runs three times. Then, in each round, every call has its turn: once untimed, so that its weights are in the caches as
    they are when it runs again and again, and then timed, as often in a row as makes 0.2 ms.

    Args:
        calls: by any key.
        repeats: rounds.
        clock: in seconds.
    """
    rows = {key: _in_a_row(call, clock) for key, call in calls.items()}
    found: dict[K, list[float]] = {key: [] for key in calls}
    for _ in range(repeats):
        for key, call in calls.items():
            check_interrupt()
            call()
            began = clock()
            for _ in range(rows[key]):
                call()
            found[key].append((clock() - began) / rows[key])
    return {key: np.array(seconds) for key, seconds in found.items()}


def _in_a_row(call: Callable[[], object], clock: Callable[[], float]) -> int:
    fastest = math.inf
    for _ in range(_WARM):
        began = clock()
        call()
        fastest = min(fastest, clock() - began)
    return max(1, min(_MOST, math.ceil(_SHORTEST / max(fastest, 1e-9))))


def timing_of(seconds: Floats) -> Timing:
    """Median and quartiles of repeats."""
    low, median, high = np.percentile(seconds, [25, 50, 75]).tolist()
    return Timing(median=median, low=low, high=high)
