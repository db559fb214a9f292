"""`Table`: the data structure of signals and costs, float64 `[L layers, C choices]` with a unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.choice import Choice

__all__ = ["Table"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Additive quantity over layers: `total(allocation) = base + Σ_l values[l, choice of l]`.

    Args:
        name: such as `size` or `fisher`.
        unit: such as `B` or `nats`.
        layers: L row names.
        choices: C column choices.
        values: float64 `[L, C]`; NaN where a layer cannot take a choice.
        base: constant part (file header, unquantized tensors), in the same unit.
        cost: seconds and passes of its computation, and other figures for reports.
        bits: weight bits by layer, if the signal learned them in training; they may be fractional.
    """

    name: str
    unit: str
    layers: tuple[str, ...]
    choices: tuple[Choice, ...]
    values: NDArray[np.float64]
    base: float = 0.0
    cost: Mapping[str, float] = field(default_factory=dict)
    bits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.layers), len(self.choices))
        values = np.asarray(self.values, dtype=np.float64)
        if values.shape != shape:
            raise ValueError(f"table '{self.name}' needs values of shape {shape}, got {values.shape}")
        object.__setattr__(self, "values", values)

    @property
    def rows(self) -> tuple[Table, ...]:
        """The table itself as the only row; a `Peak` has several."""
        return (self,)

    def total(self, allocation: Mapping[str, Choice]) -> float:
        """`base + Σ_l values[l, allocation[l]]`, the exact sum rounded once.

        Raises:
            KeyError: a layer without a choice, or a choice without a column.
        """
        column = {choice: c for c, choice in enumerate(self.choices)}
        picked = (self.values[row, column[allocation[name]]] for row, name in enumerate(self.layers))
        return math.fsum([self.base, *picked])
