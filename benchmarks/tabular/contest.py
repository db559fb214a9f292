"""The rules of the comparison: who searches asks and is told, and what counts as a trial.

**Constraints, alike for all.** The bytes of an allocation are known before it is measured, so nobody pays a trial for one that does not
fit, nor for one that was measured before: such a proposal is told at once, its true loss included (more than a user would learn), and
drawn again, up to `REDRAWS` times a run; after that it counts as a trial in which nothing was found. The first `TRIALS` distinct
allocations inside the budget are what is compared. Optuna's samplers see the violation by `set_constraint`, as its documentation asks, and
start from random allocations that fit in place of random ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.truth import Picks, Truth
from mpsearch.core.budget import Budget

__all__ = ["BUDGETS", "REDRAWS", "SEEDS", "TRIALS", "Contest", "Contestant", "Entry", "play"]

TRIALS = 100
SEEDS = 20
FRONT_SEEDS = 10
REDRAWS = 100
BUDGETS = {"tight": 0.125, "middle": 0.25, "loose": 0.5}
"""Where the limit lies between the smallest and the largest file."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One network under one budget.

    Args:
        truth: its table.
        limit: bytes.
    """

    truth: Truth
    limit: int

    @classmethod
    def of(cls, truth: Truth, budget: str) -> Contest:
        """The budget by its name in `BUDGETS`."""
        low, high = int(truth.bytes.min()), int(truth.bytes.max())
        return cls(truth=truth, limit=int(low + BUDGETS[budget] * (high - low)))

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """As mpsearch states it."""
        return (Budget("size", float(self.limit), f"{self.limit}B"),)

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Which allocations fit, the shape of the table."""
        return self.truth.bytes <= self.limit

    @property
    def optimum(self) -> float:
        """Least loss within the budget, nats."""
        return float(self.truth.loss[self.feasible].min())

    def violation(self, picks: Picks) -> float:
        """Bytes above the limit in units of it; at most zero where the budget holds."""
        return float(self.truth.bytes[picks]) / self.limit - 1


class Contestant(Protocol):
    """One run of one search."""

    def ask(self) -> Picks | None:
        """What to measure next; None: it is done."""

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        """What came out of the last proposal."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A search that takes part.

    Args:
        name: for tables and legends.
        start: (contest, seed) → a run.
        seeded: whether the seed changes anything.
        trials: how far it is followed.
        front: whether it is after loss and bytes together: then it goes on when the best loss is found.
    """

    name: str
    start: Callable[[Contest, int], Contestant]
    seeded: bool = True
    trials: int = TRIALS
    front: bool = False

    @property
    def seeds(self) -> int:
        """Seeds that differ and are worth their time: one where chance has no part, fewer of those that play to the end for a front."""
        return 1 if not self.seeded else FRONT_SEEDS if self.front else SEEDS


def play(contest: Contest, entry: Entry, seed: int) -> list[int]:
    """Flat table positions of the trials in order; −1 is a trial in which nothing was found.

    Shorter where a search had no more to say, or has found the optimum.
    """
    contestant = entry.start(contest, seed)
    truth = contest.truth
    trials: list[int] = []
    known: set[Picks] = set()
    redraws = 0
    while len(trials) < entry.trials:
        picks = contestant.ask()
        if picks is None:
            break
        violation = contest.violation(picks)
        new = violation <= 0 and picks not in known
        contestant.tell(picks, float(truth.loss[picks]), violation)
        if new:
            known.add(picks)
            trials.append(int(np.ravel_multi_index(picks, truth.loss.shape)))
            if truth.loss[picks] <= contest.optimum and not entry.front:
                break
        elif (redraws := redraws + 1) > REDRAWS:
            trials.append(-1)
    return trials
