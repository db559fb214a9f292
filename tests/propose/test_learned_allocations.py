"""Learned bits become allocations of the space, under the budgets, in proportion to what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.peak import CostTable, Peak
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs.budgets import parse_budget
from mpsearch.propose.learned_allocations import affordable_bits, learned_allocations, nearest
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher
from mpsearch.trials.problem import Problem
from tests.study.proposals import problem, tables

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8)


def of(asked: Problem) -> tuple[ResolvedSpace, Mapping[str, CostTable], Sequence[Budget]]:
    return asked.space, asked.costs, asked.budgets


def test_room_lies_between_the_uniform_networks_around_the_budget() -> None:
    asked = problem(weights=WIDTHS)
    for width in (2, 5):
        exact = int(asked.costs["size"].total(asked.space.uniform(Choice(width))))
        assert affordable_bits(*of(problem(f"{exact}B", weights=WIDTHS))) == pytest.approx(width)
        between = affordable_bits(*of(problem(f"{exact + 30}B", weights=WIDTHS)))
        assert width < between < width + 1


def test_room_ends_with_the_menus() -> None:
    assert affordable_bits(*of(problem("1MB", weights=(2, 4, FLOAT_BITS)))) == 4
    assert affordable_bits(*of(problem("1B", weights=(2, 4)))) == 2


def test_a_budget_that_weights_do_not_change_leaves_room_for_all_of_them() -> None:
    asked = problem("1MB", weights=(2, 4, 8), menus={"activations": (2, 4, 8)})
    space = asked.space
    rows = []
    for factor in (1.0, 2.0):
        cells = [[factor * choice.activation.bits for choice in space.choices]] * len(space.names)
        rows.append(Table(name="act", unit="B", layers=space.names, choices=space.choices, values=np.array(cells)))
    budget = Budget("act", 2.0 * 2 * len(space.names), "few")
    assert affordable_bits(space, {"act": Peak(tuple(rows))}, [budget]) == 8
    found = nearest(space, {"act": Peak(tuple(rows))}, [budget], dict.fromkeys(space.names, 8.0))
    assert {str(choice) for choice in found.values()} == {"w8a2"}


@settings(deadline=None, max_examples=10)
@given(bits=st.lists(st.floats(1, 8), min_size=6, max_size=6), size=st.integers(205, 1000))
def test_learned_allocations_keep_the_budget(bits: list[float], size: int) -> None:
    asked = problem(f"{size}B", weights=WIDTHS)
    assert asked.fits(nearest(*of(asked), dict(zip(asked.space.names, bits, strict=True))))


@settings(deadline=None, max_examples=8)
@given(bits=st.lists(st.integers(2, 7), min_size=6, max_size=6), shift=st.integers(-1, 1))
def test_bits_that_fit_are_taken_as_they_are_wherever_the_training_stopped(bits: list[int], shift: int) -> None:
    asked = problem(weights=WIDTHS)
    wanted = {name: Choice(width) for name, width in zip(asked.space.names, bits, strict=True)}
    limit = int(asked.amounts(asked.space.check(type(asked.space.uniform(Choice(1)))(wanted)))["size"])
    tight = replace(asked, budgets=(parse_budget(f"{limit}B"),))
    found = nearest(*of(tight), {name: float(choice.weight.bits + shift) for name, choice in wanted.items()})
    assert max(abs(found[name].weight.bits - choice.weight.bits) for name, choice in wanted.items()) <= 1
    assert tight.fits(found)


def test_layers_that_learned_nothing_keep_the_most_they_can() -> None:
    asked = problem("2KB", weights=(1, 2, 4, 8))
    found = nearest(*of(asked), dict.fromkeys(asked.space.names[1:], 2.0))
    assert found["l0"] == Choice(8)


def test_activations_stay_wide_where_the_budget_lets_them() -> None:
    asked = problem("300B", menus={"activations": (2, 4, 8)})
    assert {choice.activation.bits for choice in nearest(*of(asked), dict.fromkeys(asked.space.names, 3.0)).values()} == {8}


def test_only_tables_with_learned_bits_give_allocations() -> None:
    asked = problem()
    fisher, measured = tables(asked)
    learned = replace(measured, name="bsq", bits=dict.fromkeys(asked.space.names, 2.5))
    assert [origin for origin, _ in learned_allocations(*of(asked), [fisher, learned])] == ["learned:bsq"]


def searcher(asked: Problem, start: Allocation) -> Searcher:
    return Searcher(asked.space, tables(asked), asked.costs, asked.budgets, initial=[("learned:bsq", start)])


def test_learned_allocations_are_tried_after_each_signal_proposed_once() -> None:
    asked = problem()
    start = asked.space.uniform(Choice(1))
    proposer = searcher(asked, start)
    seen: list[Observation] = []
    origins: list[str] = []
    for _ in range(4):
        proposal = proposer.propose(seen)
        origins.append(proposal.origin)
        seen.append(Observation(allocation=proposal.allocation, losses={"ptq": 1.0 + len(seen)}))
    assert "learned:bsq" in origins
    first = origins.index("learned:bsq")
    assert first > 0
    assert all(origin.startswith("milp:") for origin in origins[:first])
    assert not any(origin.startswith("milp:") for origin in origins[first:])


def test_a_start_that_a_signal_proposed_already_is_not_tried_again() -> None:
    asked = problem()
    taken = searcher(asked, asked.space.uniform(Choice(1))).propose([]).allocation
    proposal = searcher(asked, taken).propose([Observation(allocation=taken, losses={"ptq": 1.0})])
    assert proposal.origin != "learned:bsq"
    assert proposal.allocation != taken


def test_the_distance_is_weighted_by_weights() -> None:
    """What is still too much is taken alike from all layers, not from the largest alone."""
    asked = problem("290B", weights=WIDTHS)
    found = nearest(*of(asked), dict.fromkeys(asked.space.names, 4.0))
    assert np.ptp([choice.weight.bits for choice in found.values()]) <= 1
