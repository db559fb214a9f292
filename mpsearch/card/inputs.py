"""`CardInputs`: a finished run as the card reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpsearch.data.base import Splits
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["CardInputs"]


@dataclass(frozen=True, kw_only=True)
class CardInputs:
    """What a card reads besides the results.

    Args:
        config: the resolved study.
        splits: its data.
        problem: what was searched.
        other: the same problem with another float checkpoint of the architecture, if the study names one.
        claim: fingerprint of the run.
        limit: seconds that the confounder flips may take; those that would begin later are not run.
    """

    config: StudyConfig
    splits: Splits
    problem: Problem
    other: Problem | None = None
    claim: str
    limit: float = math.inf
