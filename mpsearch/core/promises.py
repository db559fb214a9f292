"""What a run promises beforehand, with what came of it: a metric to keep, a latency, the metric after retraining."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.checked import Long

__all__ = ["Foresight", "Kept", "MeasuredLatency"]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the cheapest network was to keep of the float network's metric on validation.

    Args:
        asked: as it was asked for: `99%`, or `at most 0.5 less`.
        cost: that was to be small.
        metric: the bound, in the metric's own unit.
        verified: whether a trial was within the bound.
        held: whether the delivered network is.
    """

    asked: str
    cost: str
    metric: float
    verified: bool
    held: bool


@dataclass(frozen=True, kw_only=True)
class MeasuredLatency:
    """The delivered file, timed as a whole network in its runtime: seconds of one sample.

    Args:
        median: over repeats.
        low: lower quartile.
        high: upper quartile.
        at_pace: the median at the speed that the machine had when its latency profile was measured.
        place: runtime, threads, batch and processor.
    """

    median: float
    low: float
    high: float
    at_pace: float
    place: Long


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
