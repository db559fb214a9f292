"""Input and output of the searcher: finished trials as observations, proposals, and observations as evidence of the surrogate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.record import Record
from mpsearch.propose.surrogate.model import Evidence

__all__ = ["Observation", "Proposal", "deepest_rung", "evidence_of", "logarithm", "observed", "paused", "room_above"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A finished trial.

    Args:
        allocation: its bits.
        losses: validation loss by rung, shallow to deep; empty if it failed; losses that are not finite are ignored.
        errors: validation error by rung, which only a search with a bound on it reads.
    """

    allocation: Allocation
    losses: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to measure next.

    Args:
        origin: what proposed it: `milp:fisher`, `ei`, `ei@0.85`, `refine`, `left`.
        allocation: its bits.
        improvement: expected improvement of log loss, nats; infinite for proposals that need no surrogate.
        noise: standard deviation of one measurement, nats of log loss.
    """

    origin: str
    allocation: Allocation
    improvement: float = np.inf
    noise: float = 0.0


def observed(record: Record) -> Observation:
    """The observation of a trial. A failed one gets an infinite loss at a rung of its own, so that it does not count as waiting."""
    losses = {rung: score.loss for rung, score in record.scores.items()}
    errors = {rung: score.error for rung, score in record.scores.items()}
    failed = {"failed": math.inf} if record.status == "failed" else {}
    return Observation(allocation=record.allocation, losses={**losses, **failed}, errors=errors)


def room_above(observations: Sequence[Observation], keep: float) -> bool:
    """Whether fewer than a share `keep` of the measured allocations went on from the first rung."""
    measured = {o.allocation for o in observations if any(map(math.isfinite, o.losses.values()))}
    return len(measured) - len(paused(observations)) < math.ceil(keep * len(measured))


def paused(observations: Sequence[Observation]) -> list[Allocation]:
    """Allocations measured at the first rung only, in the order they finished; none if no trial has gone further."""
    promoted = {observation.allocation for observation in observations if len(observation.losses) > 1}
    if not promoted:
        return []
    alone = (o for o in observations if len(o.losses) == 1 and o.allocation not in promoted)
    return list(dict.fromkeys(o.allocation for o in alone if all(map(math.isfinite, o.losses.values()))))


def deepest_rung(observations: Sequence[Observation]) -> str:
    """The rung that predictions are for: the last one to occur first; empty before any."""
    return list(dict.fromkeys([""] + [rung for o in observations for rung, loss in o.losses.items() if math.isfinite(loss)]))[-1]


def evidence_of(observations: Sequence[Observation], picks: Sequence[Picks], groups: int) -> tuple[Evidence, int]:
    """(one measurement for each trial and rung; number of rungs, at least one), rungs in the order they first occur.

    A trial that resumes an allocation repeats the score of the trial that stopped there, which counts once.

    Args:
        observations: in the order they finished.
        picks: their allocations, int `[G]` each.
        groups: G.
    """
    names: dict[str, int] = {}
    rows: list[tuple[Picks, int, float]] = []
    held: set[tuple[bytes, str, float]] = set()
    for observation, row in zip(observations, picks, strict=True):
        for name, loss in observation.losses.items():
            key = (row.tobytes(), name, loss)  # of the picks: hashing an allocation takes all its layers
            if math.isfinite(loss) and key not in held:
                held.add(key)
                rows.append((row, names.setdefault(name, len(names)), loss))
    evidence = Evidence(
        picks=np.array([row for row, _, _ in rows], dtype=np.intp).reshape(len(rows), groups),
        rungs=np.array([rung for _, rung, _ in rows], dtype=np.intp),
        values=logarithm(np.array([loss for _, _, loss in rows], dtype=np.float64)),
    )
    return evidence, max(1, len(names))


def logarithm(losses: Floats) -> Floats:
    """Logarithm of the losses; if one is not above zero, of their distance from a point just below the least."""
    if not len(losses) or losses.min() > 0:
        return np.asarray(np.log(losses), dtype=np.float64)
    spread = float(np.ptp(losses)) or 1.0
    return np.asarray(np.log(losses - losses.min() + 0.01 * spread), dtype=np.float64)
