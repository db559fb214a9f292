"""`running_maximum`: scores raised so that fewer bits never score lower than more bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.choice import Choice

__all__ = ["running_maximum"]


def running_maximum(values: NDArray[np.float64], choices: Sequence[Choice]) -> NDArray[np.float64]:
    """`values'[l, k] = max over j of values[l, j]`, j the choices that are `at_least` k.

    Args:
        values: `[L, C]`, any unit; NaN where a layer cannot take a choice.
        choices: the C columns.

    Returns:
        `[L, C]`; NaN stays NaN and does not count in the maximum.
    """
    at_least = np.array([[j.at_least(k) for j in choices] for k in choices])
    absent = np.isnan(values)
    candidates = np.where(absent, -np.inf, values)[:, None, :]
    return np.where(absent, np.nan, np.where(at_least, candidates, -np.inf).max(axis=2))
