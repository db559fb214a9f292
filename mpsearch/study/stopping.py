"""When a study ends: after so many trials, after so long, or when nothing is left to gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outlook", "Stopping"]

_FLAT = 0.05
"""Share of a measurement's noise under which an expected improvement is none."""
_PATIENCE = 3
"""Proposals in a row that must promise nothing: the surrogate may learn from one that it was wrong."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a proposal promised.

    Args:
        improvement: expected improvement of log loss, nats; infinite for one the surrogate had no say in.
        noise: deviation of one measurement, nats of log loss.
    """

    improvement: float = math.inf
    noise: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether it is lost in the noise."""
        return self.improvement < _FLAT * self.noise


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The first of the rules that holds ends the study.

    Args:
        trials: at most so many.
        seconds: spent in trials, all parts of an interrupted study together; None: as long as it takes.
        until_flat: end when the expected improvement is lost in the noise (`Outlook.flat`) three times in a row.
    """

    trials: int
    seconds: float | None = None
    until_flat: bool = False

    @property
    def open_ended(self) -> bool:
        """Whether something other than the count is likely to end the study."""
        return self.seconds is not None or self.until_flat

    def reason(self, outlooks: Sequence[Outlook], spent: float) -> str | None:
        """Why no further trial should begin, for people; None to go on, for at least one trial.

        Args:
            outlooks: of the trials so far, in order.
            spent: seconds.
        """
        if len(outlooks) >= self.trials:
            return f"{self.trials} trials are done"
        if self.seconds is not None and outlooks and spent >= self.seconds:
            return f"the time of {self.seconds:,.0f} s is spent after {len(outlooks)} trials"
        if self.until_flat and len(outlooks) >= _PATIENCE and all(outlook.flat for outlook in outlooks[-_PATIENCE:]):
            return f"the expected improvement fell under the noise after {len(outlooks)} trials"
        return None
