"""Who goes on to the next rung: of those that cost as much or less, the best `keep` (successive halving, one trial at a time).

From the first rung, where nothing was trained, those go on that are expected to gain most at the deepest, and any that is expected to be
the best there: the surrogate knows how much the first rung says of it, and what it says little of is not thrown away for a bad score. A
trial that has to stop waits: the sampler may propose its bits once more, and then they go on. Between rungs that train, trials compete by
what they scored, in which their hyperparameters have a share.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), arXiv 1810.05934, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsearch.core.record import Record
from mpsearch.propose.observation import Observation, observed

if TYPE_CHECKING:
    from mpsearch.propose.searcher import Searcher

__all__ = ["goes_on", "goes_on_by_score", "worth_more"]

_ALIKE = 1.02
"""Costs within two percent are the same."""


def goes_on_by_score(record: Record, records: Sequence[Record], keep: float) -> bool:
    """Is its last score among the best `keep` at that rung?"""
    before = list(record.scores)[-1]
    rivals = [r for r in _rivals(record, records) if before in r.scores]
    better = sum(r.scores[before].loss < record.scores[before].loss for r in rivals)
    return better < math.ceil(keep * (len(rivals) + 1))


def goes_on(record: Record, records: Sequence[Record], keep: float, searcher: Searcher) -> bool:
    """Is it expected to be the best; or to gain most of those that wait, while fewer than `keep` have gone on; or did it wait before?"""
    rivals = [observed(rival) for rival in _rivals(record, records)]
    return worth_more(observed(record), rivals, [observed(other) for other in records], keep, searcher)


def worth_more(own: Observation, rivals: Sequence[Observation], others: Sequence[Observation], keep: float, searcher: Searcher) -> bool:
    """The same of an observation at the first rung.

    Args:
        own: what may go on.
        rivals: those of `others` it competes with.
        others: all that is known besides.
        keep: share of them that may go on.
        searcher: what is expected.
    """
    scored = list(dict.fromkeys(rival.allocation for rival in rivals if any(map(math.isfinite, rival.losses.values()))))
    went = list(dict.fromkeys(rival.allocation for rival in rivals if len(rival.losses) > 1))
    if own.allocation in scored or not went:
        return True
    waiting = [*(allocation for allocation in scored if allocation not in went), own.allocation]
    improvement, margin = searcher.prospects([*others, own], waiting, went)
    room = len(went) < math.ceil(keep * (len(scored) + 1))
    return bool(margin[-1] > 0 or (room and improvement[-1] >= improvement.max()))


def _rivals(record: Record, records: Sequence[Record]) -> list[Record]:
    """Those that cost as much or less."""
    cost = next(iter(record.costs)) if "size" not in record.costs else "size"
    return [r for r in records if r.costs[cost] <= _ALIKE * record.costs[cost]]
