"""Proposals: signals first, inside the budgets they aim at, never twice, the same after an interruption."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import LayerMenu
from mpsearch.core.table import Table
from mpsearch.study.stopping import Stopping
from mpsearch.study.study_sampler import bits_sampler, prediction_quality, with_budget_spent
from mpsearch.trials.uniform import uniform_candidates
from tests.study.proposals import problem, proposals, tables


def test_signals_propose_first_then_the_surrogate_then_swaps() -> None:
    found = proposals(problem(), 12, trials=12)
    assert [record.origin for record in found[:3]] == ["milp:fisher", "milp:measured", "milp:bits"]
    assert all(record.origin == "ei" or record.origin.startswith("ei@0.") for record in found[3:9])
    assert [record.origin for record in found[9:11]] == ["refine"] * 2
    assert found[11].origin in ("refine", "ei")  # where every swap was tried, the budget is searched further


def test_proposals_are_named_after_the_limit_that_they_meet() -> None:
    found = proposals(problem(), 20, sweep=(0.6, 1.3))[3:]
    factors = [1.0 if record.origin == "ei" else float(record.origin.removeprefix("ei@")) for record in found]
    assert min(factors) < 1 < max(factors)
    assert 1.0 in factors
    assert all(record.costs["size"] <= 300 * (factor + 0.005) for record, factor in zip(found, factors, strict=True))


def test_never_the_same_twice_and_inside_the_budget() -> None:
    found = proposals(problem(), 30, trials=30)
    assert len({record.allocation for record in found}) == 30
    assert all(record.feasible for record in found)


def test_budgets_above_the_asked_one_are_allowed_to_break_it() -> None:
    found = proposals(problem(), 20, sweep=(1.0, 1.3))
    assert not all(record.feasible for record in found)
    assert all(record.costs["size"] <= 390 for record in found)


def test_an_interrupted_study_proposes_what_it_would_have_proposed() -> None:
    asked = problem()
    whole = proposals(asked, 15)
    assert proposals(asked, 15, start=tuple(whole[:7])) == whole


def test_everything_tried_is_said() -> None:
    asked = problem(budget="1MB", weights=(1, 2), layers=2)
    with pytest.raises(BudgetError, match="every allocation within the budget has been tried"):
        proposals(asked, 5)


def test_where_time_ends_a_study_every_fourth_trial_refines() -> None:
    for stopping in (Stopping(trials=1000, seconds=60.0), Stopping(trials=1000, until_flat=True)):
        sampler = bits_sampler(problem(), [], (1.0, 1.0), stopping=stopping, refine=0.25)
        assert [number for number in range(12) if sampler.refines(number)] == [3, 7, 11]


def test_calibration_needs_something_to_go_by() -> None:
    asked = problem()
    sampler = bits_sampler(asked, tables(asked), (1.0, 1.0), stopping=Stopping(trials=8), refine=0.0)
    found = proposals(asked, 8)
    assert prediction_quality(sampler, found[:3]) == {}
    trust = prediction_quality(sampler, found)
    assert trust["count"] == 8
    assert trust["correlation"] > 0.5


def test_best_uniform_allocations() -> None:
    found: dict[str, Any] = dict(uniform_candidates(problem(budget="530B")))
    assert set(found) == {"uniform w2af", "uniform w1af, ends at most bits"}
    assert set(found["uniform w2af"].values()) == {Choice(2)}
    assert [choice.weight.bits for choice in found["uniform w1af, ends at most bits"].values()] == [8, 1, 1, 1, 1, 8]


def test_uniform_is_called_what_most_layers_take() -> None:
    menus = {"activations": (4,), "layers": {"l0": LayerMenu(activations=(8,))}}
    found = dict(uniform_candidates(problem(budget="600B", menus=menus)))
    assert set(found) == {"uniform w2a4", "uniform w1a4, ends at most bits"}


def test_no_uniform_allocation_fits() -> None:
    assert uniform_candidates(problem(budget="100B")) == []


def test_what_is_handed_over_spends_its_budget_in_a_way_that_has_not_lost() -> None:
    asked = problem()
    sampler = bits_sampler(asked, tables(asked), (1.0, 1.0), stopping=Stopping(trials=40), refine=0.25)
    first = proposals(asked, 1)[0]
    low = asked.space.uniform(asked.space.choices[0])
    small = replace(first, allocation=low, costs=asked.amounts(low))
    handed = with_budget_spent(sampler, small, [small])
    assert small.costs["size"] < asked.amounts(handed.allocation)["size"] <= 300
    assert handed.origin == f"{first.origin}, budget spent"
    assert handed.number == first.number
    spent = replace(first, origin=handed.origin, allocation=handed.allocation)
    assert with_budget_spent(sampler, spent, [small]) is spent, "nothing is left to spend"
    sizes = asked.costs["size"]
    assert isinstance(sizes, Table)
    smaller = replace(sizes, values=0.8 * sizes.values)  # as a method writes it that needs less than others of the study
    filled = with_budget_spent(sampler, small, [small], {"size": smaller}).allocation
    assert smaller.total(filled) <= 300 < sizes.total(filled)
    ways = [handed]
    for _ in range(3):  # what was tried as far and did worse is not handed over, another way of with_budget_spent is
        ways.append(with_budget_spent(sampler, small, [small, *(replace(first, allocation=way.allocation) for way in ways)]))
        assert asked.amounts(ways[-1].allocation)["size"] > small.costs["size"]
    assert len({way.allocation for way in ways}) == 4
    untrained = replace(first, allocation=handed.allocation, scores={})
    assert with_budget_spent(sampler, small, [small, untrained]).allocation == handed.allocation
