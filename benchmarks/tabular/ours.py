"""mpsearch's `Searcher` as a contestant, whole and with parts taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tabular.contest import Contest, Entry
from benchmarks.tabular.truth import Picks
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import BudgetError
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher

__all__ = ["OURS", "OURS_SWEPT", "SIGNALS", "Ours"]

SIGNALS = ("fisher", "measured")
"""As in the shipped studies."""


class Ours:
    """One run.

    Args:
        contest: network and budget.
        seed: of posterior samples.
        signals: tables it starts from.
        refine: trial from which on it only swaps bits around the best; None: never.
        options: of `Searcher`.
    """

    def __init__(
        self, contest: Contest, seed: int, *, signals: tuple[str, ...] = SIGNALS, refine: int | None = None, **options: Any
    ) -> None:
        self._truth = contest.truth
        tables = [contest.truth.tables[name] for name in signals]
        self._searcher = Searcher(contest.truth.space, tables, {"size": contest.truth.size}, contest.budgets, seed=seed, **options)
        self._refine = refine
        self.seen: list[Observation] = []
        self._asked: Allocation | None = None
        self._again = False

    def ask(self) -> Picks | None:
        """The searcher's proposal."""
        try:
            refine = self._refine is not None and len(self.seen) >= self._refine
            self._asked = self._searcher.propose(self.seen, refine=refine, again=self._again).allocation
        except BudgetError:
            return None
        return self._truth.picks(self._asked)

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        """Kept as an observation."""
        self._observe({"ptq": loss})

    def _observe(self, losses: Mapping[str, float]) -> None:
        assert self._asked is not None
        self.seen.append(Observation(allocation=self._asked, losses=losses))


OURS = Entry(name="mpsearch", start=lambda contest, seed: Ours(contest, seed))
OURS_SWEPT = Entry(
    name="front: mpsearch",
    start=lambda contest, seed: Ours(contest, seed, sweep=(float(contest.truth.bytes.min()) / contest.limit, 1.0)),
    front=True,
)
"""After the whole front up to the limit; for hypervolume alone."""
