"""Draws stay in the space and lie where a search will look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.budget import Budget
from mpsearch.core.peak import Peak
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.budgets import parse_budget
from mpsearch.costs.size import size
from mpsearch.training.sandwich import Sandwich
from tests.layers import linear_layers

WIDTHS = st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 32]), min_size=1, unique=True)


def space_of(
    count: int, weights: tuple[int, ...] = (1, 2, 3, 4, 6, 8), activations: tuple[int, ...] = (32,), **rules: object
) -> ResolvedSpace:
    layers = linear_layers(count, inputs=50, macs=1, first_input_float=True)
    return Space(name="s", weights=weights, activations=activations, **rules).resolve(layers)  # type: ignore[arg-type]


def drawn(sandwich: Sandwich, count: int, seed: int = 0) -> list[object]:
    torch.manual_seed(seed)
    return [sandwich.draw() for _ in range(count)]


@settings(max_examples=20, deadline=None)
@given(
    weights=WIDTHS,
    activations=st.lists(st.sampled_from([2, 4, 8, 32]), min_size=1, unique=True),
    narrow=WIDTHS,
    seed=st.integers(0, 99),
    limit=st.floats(1, 1e5),
    budgeted=st.booleans(),
)
def test_every_draw_is_in_the_space(
    weights: list[int], activations: list[int], narrow: list[int], seed: int, limit: float, budgeted: bool
) -> None:
    menus = {"l2": LayerMenu(weights=tuple(narrow))}
    space = space_of(5, tuple(weights), tuple(activations), layers=menus, ties=(("l1", "l3"),))
    sandwich = Sandwich(space, {"size": size(CostInputs(space=space))}, [Budget("size", limit, "")] if budgeted else [])
    low, high = space.check(sandwich.smallest), space.check(sandwich.largest)
    torch.manual_seed(seed)
    for _ in range(3):
        for name, choice in space.check(sandwich.draw()).items():
            assert low[name].weight.bits <= choice.weight.bits <= high[name].weight.bits
            assert low[name].activation.bits <= choice.activation.bits <= high[name].activation.bits


def test_half_of_the_draws_lie_around_the_budget_and_the_others_anywhere() -> None:
    space = space_of(20)
    costs = {"size": size(CostInputs(space=space)), "bits": size(CostInputs(space=space))}
    limit = 1.6 / 8 * costs["size"].total(Sandwich(space, costs, []).largest)
    for budgets, around in (([Budget("size", limit, "")], (0.45, 0.8)), ([], (0.05, 0.4))):
        sandwich = Sandwich(space, costs, budgets)
        torch.manual_seed(0)
        amounts = np.array([costs["size"].total(sandwich.draw()) for _ in range(400)]) / limit
        share = float(((amounts > 0.6) & (amounts < 1.6)).mean())
        assert around[0] < share < around[1]
        assert amounts.max() / amounts.min() > 3, "mean bits spread over the menu"


def test_of_two_budgets_the_tighter_counts() -> None:
    space = space_of(20)
    costs = {"size": size(CostInputs(space=space))}
    loose, tight = parse_budget("5KB"), parse_budget("1KB")
    amounts = []
    for budgets in ([tight], [loose, tight], [loose]):
        sandwich = Sandwich(space, costs, budgets)
        torch.manual_seed(1)
        amounts.append([costs["size"].total(sandwich.draw()) for _ in range(50)])
    assert amounts[0] == amounts[1] != amounts[2]


def test_of_the_rows_of_one_cost_the_largest_counts() -> None:
    space = space_of(20)
    table = size(CostInputs(space=space))
    nothing = replace(table, values=np.where(np.isnan(table.values), np.nan, 0.0))
    budget = Budget("size", 1000.0, "")
    alone, peak = (Sandwich(space, {"size": cost}, [budget]) for cost in (table, Peak((nothing, table))))
    assert drawn(alone, 20, 0) == drawn(peak, 20, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_chance_is_torchs_own(seed: int) -> None:
    sandwich = Sandwich(space_of(6), {}, [])
    assert drawn(sandwich, 5, seed) == drawn(sandwich, 5, seed)
    assert drawn(sandwich, 5, seed) != drawn(sandwich, 5, seed + 2)
