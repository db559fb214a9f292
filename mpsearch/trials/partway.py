"""`Partway`: where a trial stands between its rungs, so that another process can go on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mpsearch.core.record import Score
from mpsearch.training.checkpoint import Checkpoint

__all__ = ["Partway", "RungState"]


@dataclass(frozen=True, kw_only=True)
class RungState:
    """A trial after a rung with training.

    Args:
        scores: by rung, those of all that it has climbed.
        curve: of the training so far.
        model: `state_dict` of the network.
    """

    scores: Mapping[str, Score]
    curve: Sequence[dict[str, float]]
    model: Mapping[str, Any]


class Partway:
    """Keeps nothing: a trial that is interrupted begins again."""

    def held(self) -> RungState | None:
        """Where an earlier process left the trial."""
        return None

    def keep(self, state: Callable[[], RungState]) -> None:
        """A rung with training is done."""

    def training(self, rung: str) -> Checkpoint | None:
        """Where the training of a rung is kept while it lasts."""
        return None
