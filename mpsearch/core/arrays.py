"""Names of array types."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Picks"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]
"""An allocation as the column of the choice of each group, int `[G]`; or K of them, int `[K, G]`."""
