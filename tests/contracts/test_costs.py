"""What every registered cost keeps, whatever it counts."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mpsearch.config.hardware import load_hardware
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.peak import CostTable
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.costs import COSTS, Cost, CostInputs
from mpsearch.costs.budgets import format_amount, parse_budget, short_amount
from mpsearch.network.lifetimes import lifetimes
from mpsearch.network.trace import trace
from mpsearch.numbers.formats import MULTIBIT
from tests.networks import NETWORKS


@pytest.fixture(scope="module")
def inputs() -> CostInputs:
    """A transformer: an embedding that reads no floats, ties, a pin, and a menu of its own for the head."""
    torch.manual_seed(0)
    build, make = NETWORKS["transformer"]
    model, batch = build().eval(), make()
    layers = trace(model, batch)
    space = Space(
        name="all",
        weights=(1, 2, 3, 4, 8, 32),
        activations=(2, 4, 8, 32),
        layers={"head": LayerMenu(weights=(4, 8))},
        pins={"encoder.layers.0.linear1": Choice(3, 4)},
        ties=(("encoder.layers.*.linear2",),),
    ).resolve(layers)
    return CostInputs(space=space, hardware=load_hardware("t4"), lifetimes=lambda: lifetimes(model, layers, batch))


@pytest.fixture
def space(inputs: CostInputs) -> ResolvedSpace:
    return inputs.space


@pytest.fixture(params=COSTS.names())
def cost(request: pytest.FixtureRequest) -> Cost:
    return COSTS[request.param]


@pytest.fixture
def table(cost: Cost, inputs: CostInputs) -> CostTable:
    return cost.compute(inputs)


def _allocations(space: ResolvedSpace, count: int) -> list[Allocation]:
    draw = random.Random(0)
    found = []
    for _ in range(count):
        picked = {}
        for group in space.groups:
            choice = draw.choice(space.menus[group[0]])
            picked |= {space.names[index]: choice for index in group}
        found.append(space.check(Allocation(picked)))
    return found


def test_says_what_it_is(cost: Cost, table: CostTable) -> None:
    assert (table.name, table.unit) == (cost.name, cost.unit)
    assert COSTS[cost.name] is cost
    assert cost.description


def test_its_example_is_a_budget_on_it(cost: Cost) -> None:
    budget = parse_budget(cost.example)
    assert (budget.cost, budget.text) == (cost.name, cost.example)


def test_every_unit_is_read_with_each_of_its_names(cost: Cost) -> None:
    for name, (unit, factor) in itertools.product((cost.name, *cost.aliases), cost.units.items()):
        assert parse_budget(f"{name}:3{unit}").cost == cost.name
        assert parse_budget(f"{name}: 3 {unit.lower()}").limit == pytest.approx(3 * float(factor))


def test_units_alone_are_enough_unless_a_prefix_is_asked_for(cost: Cost) -> None:
    for unit in cost.units:
        alone = parse_budget(f"3{unit}").cost
        assert (alone == cost.name) is not cost.prefixed, f"3{unit} is read as {alone}"


def test_amounts_are_worded_as_budgets_are_written(cost: Cost, table: CostTable, space: ResolvedSpace) -> None:
    for allocation in _allocations(space, 5):
        amount = table.total(allocation)
        for words in (format_amount(cost.name, amount), short_amount(cost.name, amount)):
            assert re.fullmatch(r"[\d,.]+ [A-Za-zµ]+", words)
            assert parse_budget(f"{cost.name}:{words}").limit == pytest.approx(amount, rel=0.02, abs=1)


def test_rows_have_the_spaces_layers_and_choices(table: CostTable, space: ResolvedSpace) -> None:
    for row in table.rows:
        assert (row.name, row.unit) == (table.name, table.unit)
        assert row.layers == space.names
        assert row.choices == space.choices
        assert row.values.dtype == np.float64


def test_is_a_number_exactly_on_the_menus(table: CostTable, space: ResolvedSpace) -> None:
    for row in table.rows:
        np.testing.assert_array_equal(np.isfinite(row.values), space.allowed)
        np.testing.assert_array_equal(np.isnan(row.values), ~space.allowed)
        assert np.isfinite(row.base)


def test_is_never_negative(table: CostTable, space: ResolvedSpace) -> None:
    for row in table.rows:
        assert (row.values[space.allowed] >= 0).all()
        assert row.base >= 0
    assert all(table.total(allocation) > 0 for allocation in _allocations(space, 5))


def test_more_bits_never_cost_less(table: CostTable, space: ResolvedSpace) -> None:
    for row in table.rows:
        for cells, menu in zip(row.values, space.menus, strict=True):
            for few, many in itertools.permutations(menu, 2):
                # A quantized input comes with a step, which takes bytes; a float one has none, so the two compare apart.
                alike = (few.act_bits == FLOAT_BITS) == (many.act_bits == FLOAT_BITS)
                if alike and few.weight_bits <= many.weight_bits and few.act_bits <= many.act_bits:
                    assert cells[space.choices.index(few)] <= cells[space.choices.index(many)]


def test_total_is_the_largest_row_and_rows_add_up_layer_by_layer(table: CostTable, space: ResolvedSpace) -> None:
    for allocation in _allocations(space, 5):
        sums = []
        for row in table.rows:
            cells = [row.values[index, space.choices.index(allocation[name])] for index, name in enumerate(space.names)]
            sums.append(row.base + sum(cells))
        assert table.total(allocation) == pytest.approx(max(sums), rel=1e-12)


def test_is_the_same_each_time(cost: Cost, table: CostTable, inputs: CostInputs) -> None:
    again = cost.compute(inputs)
    assert len(again.rows) == len(table.rows)
    for one, other in zip(again.rows, table.rows, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.base == other.base


def test_formats_matter_where_it_says_so(cost: Cost, table: CostTable, inputs: CostInputs) -> None:
    """What does not read how methods store weights is not computed again for each of them."""
    other = cost.compute(replace(inputs, formats=(lambda bits: MULTIBIT,)))
    same = all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(table.rows, other.rows, strict=True))
    assert same is not cost.reads_formats
