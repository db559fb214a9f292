"""What an early rung is worth: the table of a supernet is the dear score, the same network's table without training the cheap one.

Every proposal is scored cheaply, and dearly only if it is among the best `KEEP` of those so far, as the study's rungs do; the surrogate
reads both. A trial is a dear score; about `1 / KEEP` cheap ones come with it.
"""

from __future__ import annotations

import math

from benchmarks.tabular.contest import Contest, Entry
from benchmarks.tabular.ours import Ours
from benchmarks.tabular.truth import Picks, Truth, file_of

__all__ = ["EARLY_RUNG", "KEEP", "SUPERNET", "Climbing"]

KEEP = 0.25
SUPERNET = "-supernet"
"""Ends the names of tables that have a cheap counterpart."""


class Climbing(Ours):
    """One run with a cheap rung below the contest's own.

    Args:
        contest: on a supernet's table.
        seed: of posterior samples.
        early: the cheap table of the same space.
    """

    def __init__(self, contest: Contest, seed: int, early: Truth) -> None:
        super().__init__(contest, seed)
        self._early = early
        self._cheap: list[float] = []

    def ask(self) -> Picks | None:
        """The next proposal that climbs; those that do not are observed on the way."""
        while (picks := super().ask()) is not None:
            loss = float(self._early.loss[picks])
            better = sum(other < loss for other in self._cheap)
            self._cheap.append(loss)
            if better < math.ceil(KEEP * len(self._cheap)):
                break
            self._observe({"ptq": loss})
        return picks

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        """Both scores."""
        self._observe({"ptq": self._cheap[-1], "supernet": loss})


def _start(contest: Contest, seed: int) -> Climbing:
    return Climbing(contest, seed, Truth.load(file_of(contest.truth.name.removesuffix(SUPERNET))))


EARLY_RUNG = Entry(name="with an early rung", start=_start, trials=30)
