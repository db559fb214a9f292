"""Which trials go on to the next rung: of those that use as much of the budgets or less, the best `keep` (successive halving, one by one).

At the first rung nothing is trained. From there the trials go on that are expected to gain most at the last rung, and any that is expected
to be the best there: the surrogate has learned how well the first rung predicts the last, so one bad score does not end a trial. A trial
that stops there waits: the sampler may propose its bits once more, and then it goes on. Between rungs that train, trials compete by their
scores, which depend on their hyperparameters too.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), arXiv 1810.05934, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsearch.core.budget import Budget, tightness
from mpsearch.core.record import Record
from mpsearch.propose.observation import Observation, observed

if TYPE_CHECKING:
    from mpsearch.propose.searcher import Searcher

__all__ = ["goes_on", "goes_on_by_score", "worth_more"]

_ALIKE = 1.02
"""Shares within two percent count as equal."""


def goes_on_by_score(record: Record, records: Sequence[Record], keep: float, budgets: Sequence[Budget]) -> bool:
    """Whether its last score is among the best `keep` of those at that rung that use no more of the budgets."""
    before = list(record.scores)[-1]
    rivals = [r for r in _rivals(record, records, budgets) if before in r.scores]
    better = sum(r.scores[before].loss < record.scores[before].loss for r in rivals)
    return better < math.ceil(keep * (len(rivals) + 1))


def goes_on(record: Record, records: Sequence[Record], keep: float, searcher: Searcher) -> bool:
    """Whether to train it further.

    So it is if it is expected to be the best; if fewer than `keep` went on and it is expected to gain most of those that wait; or if it
    waited before.
    """
    rivals = [observed(rival) for rival in _rivals(record, records, searcher.indexed.budgets)]
    return worth_more(observed(record), rivals, [observed(other) for other in records], keep, searcher)


def worth_more(own: Observation, rivals: Sequence[Observation], others: Sequence[Observation], keep: float, searcher: Searcher) -> bool:
    """The same for an observation at the first rung.

    Args:
        own: what may go on.
        rivals: those of `others` it competes with.
        others: all other observations.
        keep: share of the rivals that may go on.
        searcher: predicts the gain.
    """
    scored = list(dict.fromkeys(rival.allocation for rival in rivals if any(map(math.isfinite, rival.losses.values()))))
    went = list(dict.fromkeys(rival.allocation for rival in rivals if len(rival.losses) > 1))
    if own.allocation in scored or not went:
        return True
    waiting = [*(allocation for allocation in scored if allocation not in went), own.allocation]
    improvement, margin = searcher.prospects([*others, own], waiting, went)
    room = len(went) < math.ceil(keep * (len(scored) + 1))
    return bool(margin[-1] > 0 or (room and improvement[-1] >= improvement.max()))


def _rivals(record: Record, records: Sequence[Record], budgets: Sequence[Budget]) -> list[Record]:
    """Those whose largest share of a budget is the same or less."""
    most = _ALIKE * tightness(record.costs, budgets)
    return [r for r in records if tightness(r.costs, budgets) <= most]
