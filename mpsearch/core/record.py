"""`Trial`: an allocation to evaluate; `Record`: the result, with scores and costs; `pareto_front`: the non-dominated records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpsearch.core.allocation import Allocation
from mpsearch.core.checked import Long, checked
from mpsearch.core.errors import ConfigError
from mpsearch.core.json_data import json_data

__all__ = ["Record", "Score", "Trial", "pareto_front"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """The quality of a network on one split. Lower `loss` and `error` are better; `metric` is for display (accuracy in [0, 1], R², …).

    For classification `error = 1 − accuracy`.
    """

    loss: float
    error: float
    metric: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An allocation to evaluate.

    Args:
        number: trial number in the study; −1 for references.
        origin: who proposed it: `milp:fisher`, `uniform`, `swap`, …
        allocation: one choice for every layer.
        scores: validation score at each rung reached, in order; empty before the first.
    """

    number: int
    origin: str
    allocation: Allocation
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record(Trial):
    """An evaluated trial, or a reference such as the best uniform allocation; its first arguments are those of `Trial`.

    Args:
        rung: name of the deepest rung reached: `ptq`, `short`, `long`, `full`.
        costs: amounts by cost name (`size` in bytes, `bits`, `bops`, `latency` in seconds).
        params: hyperparameters, such as `{"method": "lsq", "lr": 0.02}`.
        feasible: whether every budget holds.
        status: `complete` or `failed`.
        seconds: wall time.
        note: why it failed or stopped, as a sentence.
        curve: validation metric and training loss by epoch, `[{"epoch": 1, "loss": …, "metric": …}, …]`.
    """

    rung: str
    costs: Mapping[str, float]
    params: Mapping[str, Any] = field(default_factory=dict)
    feasible: bool = True
    status: str = "complete"
    seconds: float = 0.0
    note: Long = ""
    curve: tuple[Mapping[str, float], ...] = ()

    @property
    def scored(self) -> bool:
        """Whether there is a score at the deepest rung."""
        return self.rung in self.scores

    @property
    def score(self) -> Score:
        """The score at the deepest rung."""
        return self.scores[self.rung]

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(json_data(self))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Record:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a value is not what its field declares, or a trial that was completed has no score.
        """
        record = checked(cls, document)
        if record.status == "complete" and not record.scored:
            raise ConfigError(f"there is no score at the rung '{record.rung}'")
        return record


def pareto_front(records: Iterable[Record], *, cost: str = "size") -> list[Record]:
    """Completed records that no other completed record beats in both `cost` and validation error, cheapest first.

    Equal points appear once (the lowest trial number); a point that costs more must be strictly better.
    """
    completed = [record for record in records if record.status == "complete"]
    completed.sort(key=lambda record: (record.costs[cost], record.score.error, record.score.loss, record.number))
    front: list[Record] = []
    for record in completed:
        if not front or (record.score.error, record.score.loss) < (front[-1].score.error, front[-1].score.loss):
            front.append(record)
    return front
