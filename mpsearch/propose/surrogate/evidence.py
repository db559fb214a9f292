"""`Evidence`: what was measured, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks

__all__ = ["Evidence"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """N measurements, one for each trial and rung.

    Args:
        picks: int `[N, G]`.
        rungs: int `[N]`, 0 is the first.
        values: log loss, float64 `[N]`.
    """

    picks: Picks
    rungs: NDArray[np.intp]
    values: Floats
