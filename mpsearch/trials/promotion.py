"""Promotion of trials to the next rung: among trials that use no more of the budgets, the best `keep` (asynchronous successive halving).

At the first rung nothing is trained. The surrogate has learned how well that rung predicts the last one, so a single bad score does not
end a trial: promoted are the trials with the largest expected improvement at the last rung, and any trial that is expected to be the best
there. A trial that stops at the first rung can be proposed once more by the sampler, and is then promoted. Between rungs with training,
trials compete by their scores, which also depend on their hyperparameters.

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

_SHARE_TOLERANCE = 1.02
"""Budget shares within two percent count as equal."""


def goes_on_by_score(record: Record, records: Sequence[Record], keep: float, budgets: Sequence[Budget]) -> bool:
    """Whether the last score is among the best `keep` of the records at that rung that use no more of the budgets."""
    before = list(record.scores)[-1]
    rivals = [r for r in _rivals(record, records, budgets) if before in r.scores]
    better = sum(r.scores[before].loss < record.scores[before].loss for r in rivals)
    return better < math.ceil(keep * (len(rivals) + 1))


def goes_on(record: Record, records: Sequence[Record], keep: float, searcher: Searcher) -> bool:
    """Whether a trial at the first rung is promoted.

    It is if it is expected to be the best, if fewer than `keep` were promoted and its expected improvement is the largest of the waiting
    ones, or if it was proposed a second time.
    """
    rivals = [observed(rival) for rival in _rivals(record, records, searcher.indexed.budgets)]
    return worth_more(observed(record), rivals, [observed(other) for other in records], keep, searcher)


def worth_more(own: Observation, rivals: Sequence[Observation], others: Sequence[Observation], keep: float, searcher: Searcher) -> bool:
    """As `goes_on`, for an observation at the first rung.

    Args:
        own: the observation to promote.
        rivals: the observations in `others` that it competes with.
        others: all other observations.
        keep: share of the rivals to promote.
        searcher: predicts the improvement.
    """
    scored = list(dict.fromkeys(rival.allocation for rival in rivals if any(map(math.isfinite, rival.losses.values()))))
    promoted = list(dict.fromkeys(rival.allocation for rival in rivals if len(rival.losses) > 1))
    if own.allocation in scored or not promoted:
        return True
    waiting = [*(allocation for allocation in scored if allocation not in promoted), own.allocation]
    improvement, margin = searcher.prospects([*others, own], waiting, promoted)
    room = len(promoted) < math.ceil(keep * (len(scored) + 1))
    return bool(margin[-1] > 0 or (room and improvement[-1] >= improvement.max()))


def _rivals(record: Record, records: Sequence[Record], budgets: Sequence[Budget]) -> list[Record]:
    """Records whose largest budget share is the same or smaller."""
    most = _SHARE_TOLERANCE * tightness(record.costs, budgets)
    return [r for r in records if tightness(r.costs, budgets) <= most]
