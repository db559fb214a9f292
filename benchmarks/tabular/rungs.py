"""What an early rung is worth: a table after training, or of a supernet, is the dear score, the one without the cheap one.

Every proposal is scored cheaply; at most `KEEP` of them dearly, those first that are expected to gain most, as in a study. The surrogate
reads both. A trial is a dear score; about `1 / KEEP` cheap ones come with it.
"""

from __future__ import annotations

from benchmarks.tabular.contest import Contest, Entry
from benchmarks.tabular.ours import Ours
from benchmarks.tabular.truth import Picks, Truth, file_of
from mpsearch.propose.observation import room_above
from mpsearch.trials.promotion import worth_more

__all__ = ["DEAR", "EARLY_RUNG", "KEEP", "Climbing", "cheap_counterpart"]

KEEP = 0.25
DEAR = ("supernet", "trained")
"""End the names of tables that have a cheap counterpart."""


def cheap_counterpart(name: str) -> str | None:
    """The table of the same network without training; None for such a table itself."""
    network, _, kind = name.rpartition("-")
    return network if kind in DEAR else None


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

    def ask(self) -> Picks | None:
        """The next proposal that climbs; those that do not, or not yet, are observed on the way."""
        while True:
            self._again = room_above(self.seen, KEEP)
            if (picks := super().ask()) is None:
                return None
            others = list(self.seen)
            self._observe({"ptq": float(self._early.loss[picks])})
            if worth_more(self.seen[-1], others, others, KEEP, self._searcher):
                return picks

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        """Both scores."""
        cheap = self.seen.pop()
        self._observe({**cheap.losses, "dear": loss})


def _start(contest: Contest, seed: int) -> Climbing:
    cheap = cheap_counterpart(contest.truth.name)
    assert cheap is not None
    return Climbing(contest, seed, Truth.load(file_of(cheap)))


EARLY_RUNG = Entry(name="with an early rung", start=_start, trials=30)
