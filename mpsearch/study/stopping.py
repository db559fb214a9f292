"""Stopping rules of a study: number of trials, time, or no expected improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outlook", "Stopping"]

_FLAT = 0.05
"""Fraction of a measurement's noise below which an expected improvement is negligible."""
_PATIENCE = 3
"""Number of consecutive proposals without expected improvement that end the study, since the surrogate can be wrong about one."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The expected improvement of a proposal.

    Args:
        improvement: expected improvement of log loss, nats; infinite if the surrogate did not make the proposal.
        noise: standard deviation of one measurement, nats of log loss.
    """

    improvement: float = math.inf
    noise: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether the improvement is negligible against the noise."""
        return self.improvement < _FLAT * self.noise


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Stopping rules; the first that holds ends the study.

    Args:
        trials: maximum number of trials.
        seconds: maximum time in trials, over all parts of an interrupted study; None: no limit.
        until_flat: end when the expected improvement is negligible (`Outlook.flat`) three times in a row.
    """

    trials: int
    seconds: float | None = None
    until_flat: bool = False

    @property
    def open_ended(self) -> bool:
        """Whether a rule other than the number of trials can end the study."""
        return self.seconds is not None or self.until_flat

    def reason(self, outlooks: Sequence[Outlook], spent: float) -> str | None:
        """Why the study ends, as a sentence; None if it continues.

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
