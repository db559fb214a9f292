"""Proposals: signals first, inside the budgets they aim at, never twice, the same after an interruption."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from mpsearch.core.budget import parse_budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.layer import Layer
from mpsearch.core.record import Record, Score
from mpsearch.core.space import LayerMenu, Space
from mpsearch.core.table import Table
from mpsearch.costs.size import size
from mpsearch.data.base import TensorSplit
from mpsearch.engine.problem import Problem
from mpsearch.engine.propose import Proposer, uniform_candidates
from mpsearch.network.calibrate import Calibration
from mpsearch.training.task import Task


def problem(budget: str = "300B", weights: tuple[int, ...] = (1, 2, 4, 8), layers: int = 6, menus: dict[str, Any] | None = None) -> Problem:
    traced = [
        Layer(
            name=f"l{i}",
            module=f"l{i}",
            parameter="weight",
            kind="Linear",
            weight_shape=(4, 20 + 10 * i),
            channels=4,
            macs=100,
            input_elements=5,
            output_elements=4,
            act_quantizable=True,
            signed_input=False,
            bias_elements=0,
        )
        for i in range(layers)
    ]
    space = Space(name="s", weights=weights, **(menus or {})).resolve(traced, file_overhead=10)
    data = TensorSplit(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))
    calibration = cast(Calibration, None)  # proposals never look at ranges
    return Problem(
        model=nn.Identity(),
        train=data,
        validation=data,
        task=Task.classification(),
        space=space,
        costs={"size": size(space)},
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


def proposals(asked: Problem, count: int, sweep: tuple[float, ...] = (1.0, 0.8), start: tuple[Record, ...] = ()) -> list[Record]:
    proposer = Proposer(asked, tables(asked), sweep)
    records = list(start)
    while len(records) < count:
        origin, allocation = proposer.next(records)
        loss = sum(1 / choice.weight_bits for choice in allocation.values())
        records.append(
            Record(
                number=len(records),
                origin=origin,
                allocation=allocation,
                rung="ptq",
                scores={"ptq": Score(loss=loss, error=loss, metric=0.0)},
                costs=asked.amounts(allocation),
                feasible=asked.fits(allocation),
            )
        )
    return records


def test_signals_propose_first_at_the_swept_budgets() -> None:
    asked = problem()
    found = proposals(asked, 4)
    assert [record.origin for record in found] == ["milp:fisher", "milp:measured", "milp:fisher@0.8", "milp:measured@0.8"]
    assert all(record.costs["size"] <= 300 for record in found)
    assert all(record.costs["size"] <= 240 for record in found[2:])


def test_never_the_same_twice_and_inside_the_budget() -> None:
    found = proposals(problem(), 30)
    assert len({record.allocation for record in found}) == 30
    assert all(record.feasible for record in found)
    assert any(record.origin == "swap" for record in found)


def test_budgets_above_the_asked_one_are_allowed_to_break_it() -> None:
    found = proposals(problem(), 4, sweep=(1.0, 1.3))
    assert [record.feasible for record in found] == [True, True, False, False]


def test_an_interrupted_study_proposes_what_it_would_have_proposed() -> None:
    asked = problem()
    whole = proposals(asked, 15)
    assert proposals(asked, 15, start=tuple(whole[:7])) == whole


def test_another_seed_proposes_otherwise() -> None:
    asked = problem()
    assert proposals(asked, 15) != proposals(replace(asked, seed=4), 15)


def test_everything_tried_is_said() -> None:
    asked = problem(budget="1MB", weights=(1, 2), layers=2)
    with pytest.raises(BudgetError, match="every allocation within the budget has been tried"):
        proposals(asked, 5)


def test_best_uniform_allocations() -> None:
    found: dict[str, Any] = dict(uniform_candidates(problem(budget="530B")))
    assert set(found) == {"uniform w2af", "uniform w1af, ends at most bits"}
    assert set(found["uniform w2af"].values()) == {Choice(2)}
    assert [choice.weight_bits for choice in found["uniform w1af, ends at most bits"].values()] == [8, 1, 1, 1, 1, 8]


def test_uniform_is_called_what_most_layers_take() -> None:
    menus = {"activations": (4,), "layers": {"l0": LayerMenu(activations=(8,))}}
    found = dict(uniform_candidates(problem(budget="600B", menus=menus)))
    assert set(found) == {"uniform w2a4", "uniform w1a4, ends at most bits"}


def test_no_uniform_allocation_fits() -> None:
    assert uniform_candidates(problem(budget="100B")) == []
