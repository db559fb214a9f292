"""Random allocations: inside the budgets, near them, different, and the same again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.allocate.random_allocations import LEAST_FILL, fill, random_allocations
from mpsearch.allocate.solve import meets
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import CostInputs, compute_costs
from tests.layers import linear_layers


def space_of(layers: int, weights: tuple[int, ...] = (1, 2, 4, 8), ties: tuple[tuple[str, ...], ...] = ()) -> ResolvedSpace:
    return Space(name="s", weights=weights, ties=ties).resolve(linear_layers(layers), file_overhead=10)


def costs_of(space: ResolvedSpace) -> dict[str, CostTable]:
    return compute_costs(["size", "bits"], CostInputs(space=space))


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.15, 0.95), seed=st.integers(0, 2**31), layers=st.integers(6, 16))
def test_they_meet_the_budget_and_use_most_of_it(share: float, seed: int, layers: int) -> None:
    space = space_of(layers)
    costs = costs_of(space)
    low, high = (costs["size"].total(space.uniform(Choice(bits))) for bits in (1, 8))
    budgets = [Budget("size", low + share * (high - low), "")]
    found = random_allocations(space, costs, budgets, 6, seed)
    assert len(set(found)) == len(found) >= 5
    for allocation in found:
        assert meets(allocation, costs, budgets)
        assert fill(allocation, costs, budgets) >= LEAST_FILL


def test_every_layer_is_seen_at_many_bits() -> None:
    space = space_of(8)
    costs = costs_of(space)
    found = random_allocations(space, costs, [Budget("size", 1.0 * costs["size"].total(space.uniform(Choice(4))), "")], 40, 0)
    for layer in space.names:
        assert len({allocation[layer] for allocation in found}) >= 3


def test_all_budgets_hold_and_the_tightest_is_filled() -> None:
    space = space_of(8)
    costs = costs_of(space)
    budgets = [Budget("size", costs["size"].total(space.uniform(Choice(4))), ""), Budget("bits", 2.5, "")]
    for allocation in random_allocations(space, costs, budgets, 10, 0):
        assert meets(allocation, costs, budgets)
        assert LEAST_FILL <= allocation.mean_weight_bits(space.layers) / 2.5 <= 1


def test_a_longer_list_begins_with_the_shorter_one_and_seeds_differ() -> None:
    space = space_of(8)
    costs = costs_of(space)
    budgets = [Budget("bits", 3.0, "")]
    short, long = (random_allocations(space, costs, budgets, count, 7) for count in (4, 9))
    assert long[:4] == short
    assert random_allocations(space, costs, budgets, 4, 8) != short


def test_tied_layers_stay_tied() -> None:
    space = space_of(6, ties=(("l0", "l3"),))
    for allocation in random_allocations(space, costs_of(space), [Budget("bits", 3.0, "")], 10, 0):
        assert allocation["l0"] == allocation["l3"]


def test_a_space_with_few_allocations_gives_those_it_has() -> None:
    space = space_of(1)
    found = random_allocations(space, costs_of(space), [Budget("bits", 4.0, "")], 10, 0)
    assert 1 <= len(found) <= 3
    assert all(meets(allocation, costs_of(space), [Budget("bits", 4.0, "")]) for allocation in found)


def test_a_budget_out_of_reach_is_refused() -> None:
    space = space_of(4)
    with pytest.raises(BudgetError):
        random_allocations(space, costs_of(space), [Budget("bits", 0.5, "")], 4, 0)


def test_no_signal_has_a_say() -> None:
    """The mean bits of big and small layers follow their size alone: the layers' order does not matter."""
    space = space_of(8)
    costs = costs_of(space)
    found = random_allocations(space, costs, [Budget("bits", 2.5, "")], 60, 0)
    bits = np.array([[allocation[name].weight.bits for name in space.names] for allocation in found]).mean(axis=0)
    assert bits[:3].mean() > bits[-3:].mean()
