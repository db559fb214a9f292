"""`Sandwich`: the allocations of a supernet's training step: the largest, the smallest, and random ones in between.

Yu, Huang: Universally Slimmable Networks and Improved Training Techniques, ICCV 2019, arXiv 1903.05134, section 4.1, there for widths.

Random allocations are not drawn uniformly and independently by layer: with many layers, all would have about the same mean bits, far from
most budgets. Each draw weights the choices of all menus by `p(choice) ∝ exp(tilt · rank)` with one tilt. In half of the draws the tilt
gives an expected cost close to the budgets, in the others it is random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace

__all__ = ["Sandwich"]

_STEEPEST = 40.0
"""Largest tilt, at which practically every layer takes the last choice of its menu."""
_RANDOM_TILT = 8.0
_NEAR_BUDGET = (0.7, 1.5)
"""Range of expected costs around a budget, as factors of the budget."""
_BISECTIONS = 20


class Sandwich:
    """Draws allocations from torch's global generator, which is part of a training checkpoint.

    Args:
        space: layers, menus and ties.
        costs: tables by name, at least those of the budgets.
        budgets: budgets of the search; without any, all tilts are random.
    """

    def __init__(self, space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> None:
        self._space = space
        self._limits = [(row, budget.limit) for budget in budgets for row in costs[budget.cost].rows]
        self._ranks = _ranks(space)

    @property
    def smallest(self) -> Allocation:
        """The first choice of every menu: the fewest bits."""
        return Allocation({name: menu[0] for name, menu in zip(self._space.names, self._space.menus, strict=True)})

    @property
    def largest(self) -> Allocation:
        """The last choice of every menu: the most bits."""
        return Allocation({name: menu[-1] for name, menu in zip(self._space.names, self._space.menus, strict=True)})

    def draw(self) -> Allocation:
        """Draw a random allocation; tied layers get the same choice."""
        space = self._space
        kind, place = torch.rand(2, dtype=torch.float64).tolist()
        low, high = _NEAR_BUDGET
        tilt = self._tilt(low + (high - low) * place) if self._limits and kind < 0.5 else _RANDOM_TILT * (2 * place - 1)
        # The tilt was computed for independent layers; tied layers use the probabilities of the first.
        probabilities = self._probabilities(tilt)
        picked: dict[str, Choice] = {}
        for group, place in zip(space.groups, torch.rand(len(space.groups), dtype=torch.float64).tolist(), strict=True):
            columns = np.flatnonzero(space.allowed[group[0]])
            reached = np.cumsum(probabilities[group[0], columns])
            choice = space.choices[columns[min(int(np.searchsorted(reached, place, side="right")), len(columns) - 1)]]
            picked |= {space.names[member]: choice for member in group}
        return Allocation({name: picked[name] for name in space.names})

    def _probabilities(self, tilt: float) -> NDArray[np.float64]:
        """`[L, C]`: probability of each choice, 0 outside the menu."""
        logits = np.where(self._space.allowed, tilt * self._ranks, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return probabilities

    def _tilt(self, factor: float) -> float:
        """The tilt at which the expected cost is `factor` times the tightest budget; by bisection, since costs rise with the tilt."""
        low, high = -_STEEPEST, _STEEPEST
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            probabilities = self._probabilities(middle)
            spent = max((table.base + float((probabilities * np.nan_to_num(table.values)).sum())) / limit for table, limit in self._limits)
            low, high = (low, middle) if spent > factor else (middle, high)
        return (low + high) / 2


def _ranks(space: ResolvedSpace) -> NDArray[np.float64]:
    """`[L, C]`: rank of a choice in its layer's menu, 0 to 1 by weight bits plus 0 to 1 by activation bits."""
    ranks = np.zeros((len(space.layers), len(space.choices)))
    for row, menu in enumerate(space.menus):
        for bits in ([c.weight for c in menu], [c.activation for c in menu]):
            widths = sorted(set(bits))
            for choice, width in zip(menu, bits, strict=True):
                ranks[row, space.choices.index(choice)] += widths.index(width) / max(len(widths) - 1, 1)
    return ranks
