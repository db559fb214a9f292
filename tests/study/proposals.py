"""A problem that no network has to be trained for, its signals, and what is proposed for it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mpsearch.core.record import Record, Score
from mpsearch.core.space import Space
from mpsearch.core.table import Table
from mpsearch.costs.base import CostInputs
from mpsearch.costs.budgets import parse_budget
from mpsearch.costs.size import size
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.network.calibrate import Calibration
from mpsearch.propose.observation import Observation
from mpsearch.study.stopping import Stopping
from mpsearch.study.study_sampler import bits_sampler
from mpsearch.tasks.task import Task
from mpsearch.trials.problem import Problem
from tests.layers import linear_layers


def problem(budget: str = "300B", weights: tuple[int, ...] = (1, 2, 4, 8), layers: int = 6, menus: dict[str, Any] | None = None) -> Problem:
    space = Space(name="s", weights=weights, **(menus or {})).resolve(linear_layers(layers), file_overhead=10)
    data = TensorSplit(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))
    calibration = cast(Calibration, None)  # proposals never look at ranges
    return Problem(
        model=nn.Identity(),
        train=data,
        validation=data,
        task=Task.classification(),
        space=space,
        costs={"size": size(CostInputs(space=space))},
        budgets=(parse_budget(budget),),
        calibration=calibration,
        device=torch.device("cpu"),
        seed=3,
    )


def tables(asked: Problem) -> list[Table]:
    random = np.random.default_rng(0)
    shape = (len(asked.space.layers), len(asked.space.choices))
    falling = np.sort(random.random((2, *shape)), axis=2)[:, :, ::-1] * 1e-7
    return [
        Table(name=name, unit="nats", layers=asked.space.names, choices=asked.space.choices, values=values)
        for name, values in zip(("fisher", "measured"), falling, strict=True)
    ]


def proposals(
    asked: Problem, count: int, sweep: tuple[float, float] = (0.8, 1.0), start: tuple[Record, ...] = (), trials: int = 40
) -> list[Record]:
    sampler = bits_sampler(asked, tables(asked), sweep, stopping=Stopping(trials=trials), refine=0.25)
    records = list(start)
    while len(records) < count:
        done = [Observation(allocation=r.allocation, losses={"ptq": r.score.loss}) for r in records]
        proposal = sampler.searcher.propose(done, refine=sampler.refines(len(done)))
        loss = sum(1 / choice.weight.bits for choice in proposal.allocation.values())
        records.append(
            Record(
                number=len(records),
                origin=proposal.origin,
                allocation=proposal.allocation,
                rung="ptq",
                scores={"ptq": Score(loss=loss, error=loss, metric=0.0)},
                costs=asked.amounts(proposal.allocation),
                feasible=asked.fits(proposal.allocation),
            )
        )
    return records
