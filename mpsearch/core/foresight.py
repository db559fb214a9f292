"""`Foresight`: what a study expects of its retraining before that begins."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.checked import Long

__all__ = ["Foresight"]


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """The validation metric that the retrained winner is expected to have, and how long retraining takes.

    Args:
        metric: expected.
        low: lower end of the interval that holds it with a probability of 90 %.
        high: its upper end.
        seconds: of retraining the winner and its references; 0 if that was not estimated.
        based_on: what the interval was learned from.
    """

    metric: float
    low: float
    high: float
    seconds: float = 0.0
    based_on: Long
