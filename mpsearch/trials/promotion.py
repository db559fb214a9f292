"""Promotion of trials to the next rung: among trials that use no more of the budgets, the best `keep` (asynchronous successive halving).

No more than a share `keep` of all trials is promoted, whatever they use: with few rivals, a trial would nearly always be among the best.
At the first rung nothing is trained. The surrogate has learned how well that rung predicts the last one, so a single bad score does not
end a trial: promoted are the trials with the largest expected improvement at the last rung, and those that are expected to be the best
there. A trial that stops at the first rung can be proposed once more by the sampler, and is then promoted. Between rungs with training,
trials compete by their scores, which also depend on their hyperparameters; a trial that is the best of its rivals goes on in any case,
since it cannot be resumed.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), arXiv 1810.05934, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget, tightness
from mpsearch.core.record import Record
from mpsearch.propose.observation import Observation, observed

if TYPE_CHECKING:
    from mpsearch.propose.searcher import Searcher

__all__ = ["goes_on", "goes_on_by_score", "worth_more"]

_SHARE_TOLERANCE = 1.02
"""Budget shares within two percent count as equal."""


def goes_on_by_score(record: Record, records: Sequence[Record], keep: float, budgets: Sequence[Budget]) -> bool:
    """Whether the last score is among the best `keep` of the records at that rung that use no more of the budgets.

    If a share `keep` of all records at that rung has gone on already, only the best of at least one rival does.
    """
    before = list(record.scores)[-1]
    reached = [r for r in records if before in r.scores]
    rivals = _rivals(record, reached, budgets)
    better = sum(r.scores[before].loss < record.scores[before].loss for r in rivals)
    if _room(sum(list(r.scores)[-1] != before for r in reached), len(reached), keep):
        return better < math.ceil(keep * (len(rivals) + 1))
    return bool(rivals) and not better


def goes_on(record: Record, records: Sequence[Record], keep: float, searcher: Searcher) -> bool:
    """Whether a trial at the first rung is promoted.

    It is if it was proposed a second time, or if fewer than `keep` of all were promoted and it is expected to be the best of its rivals or
    its expected improvement is the largest of the waiting ones.
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
    scored, promoted = _scored(rivals), _promoted(rivals)
    if own.allocation in scored:
        return True
    if not _room(len(_promoted(others)), len(_scored(others)), keep):
        return False
    if not promoted:
        return True
    waiting = [*(allocation for allocation in scored if allocation not in promoted), own.allocation]
    improvement, margin = searcher.prospects([*others, own], waiting, promoted)
    return bool(margin[-1] > 0 or improvement[-1] >= improvement.max())


def _room(promoted: int, others: int, keep: float) -> bool:
    """Whether fewer than a share `keep` of the others and one more were promoted."""
    return promoted < math.ceil(keep * (others + 1))


def _scored(observations: Sequence[Observation]) -> list[Allocation]:
    return list(dict.fromkeys(o.allocation for o in observations if any(map(math.isfinite, o.losses.values()))))


def _promoted(observations: Sequence[Observation]) -> list[Allocation]:
    return list(dict.fromkeys(o.allocation for o in observations if len(o.losses) > 1))


def _rivals(record: Record, records: Sequence[Record], budgets: Sequence[Budget]) -> list[Record]:
    """Records whose largest budget share is the same or smaller."""
    most = _SHARE_TOLERANCE * tightness(record.costs, budgets)
    return [r for r in records if tightness(r.costs, budgets) <= most]
