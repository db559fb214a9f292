"""What every registered cost keeps, whatever it counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.core.table import Table
from mpsearch.costs import COSTS, Cost
from mpsearch.costs.hardware import load_hardware


def _layer(name: str, outputs: int, inputs: int, pixels: int, *, act_quantizable: bool = True) -> Layer:
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Conv2d",
        weight_shape=(outputs, inputs, 3, 3),
        channels=outputs,
        macs=outputs * inputs * 9 * pixels,
        input_elements=inputs * pixels,
        output_elements=outputs * pixels,
        act_quantizable=act_quantizable,
        signed_input=False,
        bias_elements=outputs,
    )


@pytest.fixture(scope="module")
def space() -> ResolvedSpace:
    layers = [
        _layer("stem", 16, 3, 1024),
        _layer("body", 32, 16, 256),
        _layer("odd", 33, 31, 49),
        _layer("ids", 64, 8, 4, act_quantizable=False),
    ]
    return Space(
        name="all",
        weights=(1, 2, 3, 4, 8, 32),
        activations=(2, 4, 8, 32),
        layers={"stem": LayerMenu(weights=(4, 8))},
        pins={"odd": Choice(3, 4)},
    ).resolve(layers)


@pytest.fixture(params=COSTS.names())
def cost(request: pytest.FixtureRequest) -> Cost:
    return COSTS[request.param]


@pytest.fixture
def table(cost: Cost, space: ResolvedSpace) -> Table:
    return cost.compute(space, load_hardware("t4"))


def test_says_what_it_is(cost: Cost, table: Table) -> None:
    assert (table.name, table.unit) == (cost.name, cost.unit)
    assert COSTS[cost.name] is cost
    assert cost.description


def test_has_the_spaces_rows_and_columns(table: Table, space: ResolvedSpace) -> None:
    assert table.layers == space.names
    assert table.choices == space.choices
    assert table.values.shape == (len(space.names), len(space.choices))
    assert table.values.dtype == np.float64


def test_is_a_number_exactly_on_the_menus(table: Table, space: ResolvedSpace) -> None:
    np.testing.assert_array_equal(np.isfinite(table.values), space.allowed)
    np.testing.assert_array_equal(np.isnan(table.values), ~space.allowed)
    assert np.isfinite(table.base)


def test_is_never_negative_and_counts_every_layer(table: Table) -> None:
    assert (table.values[~np.isnan(table.values)] > 0).all()
    assert table.base >= 0


def test_more_bits_never_cost_less(table: Table, space: ResolvedSpace) -> None:
    for row, menu in zip(table.values, space.menus, strict=True):
        for few, many in itertools.permutations(menu, 2):
            # A quantized input comes with a step, which takes bytes; a float one has none, so the two compare apart.
            alike = (few.activation.bits == FLOAT_BITS) == (many.activation.bits == FLOAT_BITS)
            if alike and few.weight.bits <= many.weight.bits and few.activation.bits <= many.activation.bits:
                assert row[space.choices.index(few)] <= row[space.choices.index(many)]


def test_total_adds_up_layer_by_layer(table: Table, space: ResolvedSpace) -> None:
    low = Allocation({name: menu[0] for name, menu in zip(space.names, space.menus, strict=True)})
    high = Allocation({name: menu[-1] for name, menu in zip(space.names, space.menus, strict=True)})
    steps = sum(table.total({**low, name: high[name]}) - table.total(low) for name in space.names)
    assert table.total(high) - table.total(low) == pytest.approx(steps, rel=1e-9)


def test_is_the_same_each_time(cost: Cost, table: Table, space: ResolvedSpace) -> None:
    np.testing.assert_array_equal(cost.compute(space, load_hardware("t4")).values, table.values)
