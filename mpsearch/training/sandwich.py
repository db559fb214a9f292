"""`Sandwich`: which allocations a step of a supernet trains: the largest, the smallest, and random ones in between.

Yu, Huang: Universally Slimmable Networks and Improved Training Techniques, ICCV 2019, arXiv 1903.05134, section 4.1, there for widths.

Choices are not drawn uniformly for each layer: with many layers the mean bits would always lie in the middle of the menu, far from most
budgets. Each draw tilts all menus together, `p(choice) ∝ exp(tilt · rank)`: in half of the draws so that the expected cost lies around the
budgets, in the others anywhere.
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
"""At this tilt almost every layer takes the end of its menu."""
_ANYWHERE = 8.0
_AROUND = (0.7, 1.5)
"""Expected costs around a budget, as factors on it."""
_HALVINGS = 20


class Sandwich:
    """Draws allocations; random numbers come from torch's global generator, whose state a training checkpoint keeps.

    Args:
        space: layers, menus, ties.
        costs: by name, at least those the budgets limit.
        budgets: what a search will stay within; without any, draws lie anywhere.
    """

    def __init__(self, space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> None:
        self._space = space
        self._limits = [(row, budget.limit) for budget in budgets for row in costs[budget.cost].rows]
        self._ranks = _ranks(space)

    @property
    def smallest(self) -> Allocation:
        """The fewest bits everywhere."""
        return Allocation({name: menu[0] for name, menu in zip(self._space.names, self._space.menus, strict=True)})

    @property
    def largest(self) -> Allocation:
        """The most bits everywhere."""
        return Allocation({name: menu[-1] for name, menu in zip(self._space.names, self._space.menus, strict=True)})

    def draw(self) -> Allocation:
        """A random allocation; tied layers agree."""
        space = self._space
        kind, place = torch.rand(2, dtype=torch.float64).tolist()
        low, high = _AROUND
        tilt = self._tilt(low + (high - low) * place) if self._limits and kind < 0.5 else _ANYWHERE * (2 * place - 1)
        # The tilt assumes independent layers; a tie takes the odds of its first layer.
        odds = self._odds(tilt)
        picked: dict[str, Choice] = {}
        for group, place in zip(space.groups, torch.rand(len(space.groups), dtype=torch.float64).tolist(), strict=True):
            columns = np.flatnonzero(space.allowed[group[0]])
            reached = np.cumsum(odds[group[0], columns])
            choice = space.choices[columns[min(int(np.searchsorted(reached, place, side="right")), len(columns) - 1)]]
            picked |= {space.names[member]: choice for member in group}
        return Allocation({name: picked[name] for name in space.names})

    def _odds(self, tilt: float) -> NDArray[np.float64]:
        """`[L, C]`: chance of each choice, 0 outside the menu."""
        logits = np.where(self._space.allowed, tilt * self._ranks, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return odds

    def _tilt(self, factor: float) -> float:
        """The tilt at which the largest expected share of a budget is `factor`, by bisection: costs rise with the tilt."""
        low, high = -_STEEPEST, _STEEPEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            odds = self._odds(middle)
            spent = max((row.base + float((odds * np.nan_to_num(row.values)).sum())) / limit for row, limit in self._limits)
            low, high = (low, middle) if spent > factor else (middle, high)
        return (low + high) / 2


def _ranks(space: ResolvedSpace) -> NDArray[np.float64]:
    """`[L, C]`: where a choice stands in its layer's menu, from 0 to 1 in weight bits plus 0 to 1 in activation bits."""
    ranks = np.zeros((len(space.layers), len(space.choices)))
    for row, menu in enumerate(space.menus):
        for bits in ([c.weight_bits for c in menu], [c.act_bits for c in menu]):
            widths = sorted(set(bits))
            for choice, width in zip(menu, bits, strict=True):
                ranks[row, space.choices.index(choice)] += widths.index(width) / max(len(widths) - 1, 1)
    return ranks
