"""`Plan`: the phases that a run will have, with the passes and seconds that they are expected to take."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Plan", "PlannedPhase"]


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """One phase.

    Args:
        name: as the progress bar of the run shows it.
        what: what is done, a few words.
        forwards: samples that pass forward through a network.
        backwards: samples whose loss is differentiated.
        seconds: expected wall time.
    """

    name: str
    what: str
    forwards: float
    backwards: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All phases of a run.

    Args:
        phases: in their order.
        based_on: what the seconds are computed from, one sentence each.
    """

    phases: tuple[PlannedPhase, ...]
    based_on: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Expected wall time of the run."""
        return math.fsum(phase.seconds for phase in self.phases)
