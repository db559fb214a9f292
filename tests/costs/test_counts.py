"""Hand-counted values of the costs of the space alone."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.config.hardware import load_hardware
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import COSTS, CostInputs, compute_costs, reported_costs
from mpsearch.costs.bits import bits
from mpsearch.costs.bops import bops


def _layer(name: str, weights: int, macs: int) -> Layer:
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Linear",
        weight_shape=(weights,),
        channels=1,
        macs=macs,
        input_elements=1,
        output_elements=1,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )


@pytest.fixture
def space() -> ResolvedSpace:
    return Space(name="s", weights=(2, 8, 32), activations=(4, 32)).resolve([_layer("a", 100, 1000), _layer("b", 300, 500)])


def test_mean_weight_bits(space: ResolvedSpace) -> None:
    table = bits(CostInputs(space=space))
    np.testing.assert_allclose(table.values[:, space.choices.index(Choice(2, 4))], [0.5, 1.5])
    assert table.total(space.uniform(Choice(8, 4))) == 8
    mixed = {"a": Choice(8), "b": Choice(2)}
    assert table.total(mixed) == pytest.approx((100 * 8 + 300 * 2) / 400)
    assert table.total(mixed) == pytest.approx(Allocation(mixed).mean_weight_bits(space.layers))


def test_bit_operations_count_float_as_32_bits(space: ResolvedSpace) -> None:
    table = bops(CostInputs(space=space))
    assert table.total({"a": Choice(8, 4), "b": Choice(2, 4)}) == 1000 * 8 * 4 + 500 * 2 * 4
    assert table.total(space.uniform(Choice(32, 32))) == 1500 * 1024


def test_several_costs_come_in_the_order_asked(space: ResolvedSpace) -> None:
    assert list(compute_costs(["bops", "bits"], CostInputs(space=space))) == ["bops", "bits"]


def test_unknown_cost_names_the_known(space: ResolvedSpace) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown cost 'joules'; known: activation-memory, bits, bops, latency, size"):
        compute_costs(["joules"], CostInputs(space=space))


def test_latency_without_a_device_says_what_to_add(space: ResolvedSpace) -> None:
    with pytest.raises(ConfigError, match="latency needs a hardware profile; add --hardware"):
        compute_costs(["latency"], CostInputs(space=space))


def test_latency_is_reported_where_there_is_a_device_and_activation_memory_on_demand(space: ResolvedSpace) -> None:
    assert reported_costs(CostInputs(space=space)) == ["bits", "bops", "size"]
    assert reported_costs(CostInputs(space=space, hardware=load_hardware("t4"))) == ["bits", "bops", "latency", "size"]


def test_the_folder_is_the_list_of_costs() -> None:
    assert {"activation-memory", "bits", "bops", "latency", "size"} <= set(COSTS.names())
