"""`CostContract`: what every cost owes, whatever it counts."""

from __future__ import annotations

import itertools
import random
import re
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.peak import CostTable
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.costs import COSTS, Cost, CostInputs
from mpsearch.costs.budgets import format_amount, parse_budget, short_amount
from mpsearch.costs.hardware import Hardware, MatmulKernel
from mpsearch.network.lifetimes import lifetimes
from mpsearch.network.trace import trace

__all__ = ["CostContract"]


class CostContract:
    """Subclass it, name the class `Test…`, and set `cost` to a registered cost."""

    cost: Cost

    @cached_property
    def inputs(self) -> CostInputs:
        """A transformer: an embedding that reads no floats, ties, a pin, a menu of its own for the head, a device with two kernels."""
        return _inputs()

    @cached_property
    def table(self) -> CostTable:
        """The cost of these inputs."""
        return self.cost.compute(self.inputs)

    def test_is_registered_and_says_what_it_is(self) -> None:
        """Budgets and `mpsearch list` find the cost by name."""
        assert COSTS[self.cost.name] is self.cost, f"register it: COSTS.register('{self.cost.name}')(…)"
        assert (self.table.name, self.table.unit) == (self.cost.name, self.cost.unit)
        assert self.cost.description
        assert "\n" not in self.cost.description

    def test_its_example_is_a_budget_on_it(self) -> None:
        """What messages propose is accepted."""
        budget = parse_budget(self.cost.example)
        assert (budget.cost, budget.text) == (self.cost.name, self.cost.example)

    def test_every_unit_is_read_with_each_of_its_names(self) -> None:
        """In either case, with a blank or without."""
        for name, (unit, factor) in itertools.product((self.cost.name, *self.cost.aliases), self.cost.units.items()):
            assert parse_budget(f"{name}:3{unit}").cost == self.cost.name
            assert parse_budget(f"{name}: 3 {unit.lower()}").limit == pytest.approx(3 * float(factor))

    def test_units_alone_are_enough_unless_a_prefix_is_asked_for(self) -> None:
        """No two costs take the same spelling."""
        for unit in self.cost.units:
            if not self.cost.prefixed:
                assert parse_budget(f"3{unit}").cost == self.cost.name
                continue
            with suppress(BudgetError):  # nobody takes it
                assert parse_budget(f"3{unit}").cost != self.cost.name

    def test_amounts_are_worded_as_budgets_are_written(self) -> None:
        """What a report says can be pasted as a budget."""
        for allocation in _allocations(self.inputs.space, 5):
            amount = self.table.total(allocation)
            for words in (format_amount(self.cost.name, amount), short_amount(self.cost.name, amount)):
                assert re.fullmatch(r"[\d,.]+ [A-Za-zµ]+", words)
                assert parse_budget(f"{self.cost.name}:{words}").limit == pytest.approx(amount, rel=0.02, abs=1)

    def test_rows_have_the_spaces_layers_and_choices(self) -> None:
        """The solver reads them without asking."""
        for row in self.table.rows:
            assert (row.name, row.unit) == (self.table.name, self.table.unit)
            assert row.layers == self.inputs.space.names
            assert row.choices == self.inputs.space.choices
            assert row.values.dtype == np.float64

    def test_is_a_number_exactly_on_the_menus(self) -> None:
        """NaN elsewhere."""
        for row in self.table.rows:
            np.testing.assert_array_equal(np.isfinite(row.values), self.inputs.space.allowed)
            np.testing.assert_array_equal(np.isnan(row.values), ~self.inputs.space.allowed)
            assert np.isfinite(row.base)

    def test_is_never_negative(self) -> None:
        """And no allocation is free."""
        for row in self.table.rows:
            assert (row.values[self.inputs.space.allowed] >= 0).all()
            assert row.base >= 0
        assert all(self.table.total(allocation) > 0 for allocation in _allocations(self.inputs.space, 5))

    def test_more_bits_never_cost_less(self) -> None:
        """Float inputs apart, which come without a step."""
        space = self.inputs.space
        for row in self.table.rows:
            for cells, menu in zip(row.values, space.menus, strict=True):
                for few, many in itertools.permutations(menu, 2):
                    alike = few.activation.is_float == many.activation.is_float
                    if alike and few.weight.bits <= many.weight.bits and few.activation.bits <= many.activation.bits:
                        assert cells[space.choices.index(few)] <= cells[space.choices.index(many)]

    def test_total_is_the_largest_row_and_rows_add_up_layer_by_layer(self) -> None:
        """What the solver takes the cost for is what is reported."""
        space = self.inputs.space
        for allocation in _allocations(space, 5):
            sums = []
            for row in self.table.rows:
                cells = [row.values[index, space.choices.index(allocation[name])] for index, name in enumerate(space.names)]
                sums.append(row.base + sum(cells))
            assert self.table.total(allocation) == pytest.approx(max(sums), rel=1e-12)

    def test_is_the_same_each_time(self) -> None:
        """Nothing random, nothing measured."""
        again = self.cost.compute(self.inputs)
        assert len(again.rows) == len(self.table.rows)
        for one, other in zip(again.rows, self.table.rows, strict=True):
            np.testing.assert_array_equal(one.values, other.values)
            assert one.base == other.base

    def test_formats_matter_where_it_says_so(self) -> None:
        """What does not read how methods store weights is not computed again for each of them."""
        other = self.cost.compute(replace(self.inputs, formats=(_as_bases,)))
        same = all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(self.table.rows, other.rows, strict=True))
        assert same is not self.cost.reads_formats


class _Transformer(nn.Module):
    """Tokens `[N, T]` → logits `[N, 3]`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.encoder(self.embedding(tokens)).mean(1))
        return logits


def _inputs() -> CostInputs:
    torch.manual_seed(0)
    model, batch = _Transformer().eval(), torch.randint(50, (4, 12))
    layers = trace(model, batch)
    space = Space(
        name="all",
        weights=(1, 2, 3, 4, 8, 32),
        activations=(2, 4, 8, 32),
        layers={"head": LayerMenu(weights=(4, 8))},
        pins={"encoder.layers.0.linear1": Choice(3, 4)},
        ties=(("encoder.layers.*.linear2",),),
    ).resolve(layers)
    kernels = (
        MatmulKernel(weight_bits=8, act_bits=8, macs_per_second=2e12),
        MatmulKernel(weight_bits=32, act_bits=32, macs_per_second=1e12),
    )
    device = Hardware(
        name="two kernels",
        description="of nobody's",
        source="this test",
        measured=False,
        kernels=kernels,
        memory_bytes_per_second=1e11,
        seconds_per_layer=1e-6,
    )
    return CostInputs(space=space, hardware=device, lifetimes=lambda: lifetimes(model, layers, batch))


def _as_bases(asked: NumberFormat) -> NumberFormat:
    return FLOAT if asked.is_float else NumberFormat("multibit", asked.bits)


def _allocations(space: ResolvedSpace, count: int) -> list[Allocation]:
    draw = random.Random(0)
    found = []
    for _ in range(count):
        picked: dict[str, Choice] = {}
        for group in space.groups:
            choice = draw.choice(space.menus[group[0]])
            picked |= {space.names[index]: choice for index in group}
        found.append(space.check(Allocation(picked)))
    return found
