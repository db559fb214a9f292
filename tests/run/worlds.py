"""A run that has ended, of a made-up network whose every allocation has a known score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Reference, Summary
from mpsearch.run.finished_run import Finished
from mpsearch.run.kept_space import KeptSpace
from tests.propose.worlds import World, played

__all__ = ["LONG", "finished_world", "score"]

LONG = 14


def score(loss: float) -> Score:
    """A score whose error is a rising function of the loss."""
    error = loss / (1 + loss)
    return Score(loss=loss, error=error, metric=1 - error)


def finished_world(world: World, folder: Path, trials: int = LONG) -> Finished:
    """The run of a search whose trials were calibrated only, and whose winner was retrained to nine tenths of its loss."""
    searcher = world.searcher(sweep=(0.7, 1.3))

    def costs(allocation: Allocation) -> Mapping[str, float]:
        return {"size": world.size.total(allocation)}

    def record(number: int, allocation: Allocation) -> Record:
        scores = {"ptq": score(world.loss(allocation))}
        feasible = costs(allocation)["size"] <= world.limit
        return Record(
            number=number, origin="ei", allocation=allocation, rung="ptq", scores=scores, costs=costs(allocation), feasible=feasible
        )

    observations = played(searcher, world.loss, trials)[0] if trials else []
    records = [record(number, each.allocation) for number, each in enumerate(observations)]
    given = record(-1, Allocation(dict.fromkeys(world.space.names, Choice(2))))
    best = min((each for each in records if each.feasible), key=lambda each: each.score.loss, default=given)
    full = score(0.9 * best.score.loss)
    winner = replace(best, rung="full", scores={**best.scores, "full": full}, params={"method": "lsq"}, curve=({"epoch": 1.0},))
    summary = Summary(
        name="world",
        model="world",
        data="world",
        metric="accuracy",
        seed=0,
        effort="normal",
        command="mpsearch study",
        artifact="model.safetensors",
        artifact_bytes=int(winner.costs["size"]),
        budgets=tuple(world.budgets),
        layers=world.space.layers,
        tables=tuple(world.signals),
        reachable={"size": (0.0, 1e9)},
        reference=Reference(scores={"validation": score(0.19)}, costs={"size": 4.0 * sum(layer.weights for layer in world.space.layers)}),
        trials=tuple(records),
        winner=winner,
        formats=tuple(winner.allocation[name].weight for name in world.space.names),
    )
    tables = {"size": (world.size,)}
    return Finished(run_dir=folder, summary=summary, kept=KeptSpace(space=world.space, bounds=tables, exact=tables))
