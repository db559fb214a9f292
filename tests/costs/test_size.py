"""Bytes by hand, and the largest of several methods."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat, StoredAs
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import compute_costs
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.numbers.grid import stored_as_grid


def ternary(asked: NumberFormat) -> NumberFormat:
    return asked if asked.is_float else NumberFormat("ternary", 2)


def multibit(asked: NumberFormat) -> NumberFormat:
    return asked if asked.is_float else NumberFormat("multibit", asked.bits)


def as_asked(asked: NumberFormat) -> NumberFormat:
    return asked


LAYER = Layer(
    name="a",
    module="a",
    parameter="weight",
    kind="Linear",
    weight_shape=(9, 100),
    channels=9,
    macs=900,
    input_elements=100,
    output_elements=9,
    act_quantizable=True,
    signed_input=True,
    bias_elements=9,
    norm="n",
)


@pytest.fixture
def space() -> ResolvedSpace:
    return Space(name="s", weights=(1, 2, 8, 32), activations=(8, 32)).resolve([LAYER], file_overhead=1000)


def test_bytes_by_hand(space: ResolvedSpace) -> None:
    """Codes, scales, two exponents, nine biases of two bytes, and a step of four bytes where the activation is quantized."""
    rest = 1000 + 2 + 18
    assert size(CostInputs(space=space)).total({"a": Choice(2)}) == rest + 225 + 18
    assert size(CostInputs(space=space)).total({"a": Choice(2, 8)}) == rest + 225 + 18 + 4
    assert size(CostInputs(space=space)).total({"a": Choice(32)}) == rest + 3600
    assert size(CostInputs(space=space, formats=[ternary])).total({"a": Choice(2)}) == rest + 180 + 18
    assert size(CostInputs(space=space, formats=[multibit])).total({"a": Choice(2)}) == rest + 225 + 5 + 36


def test_of_several_methods_the_largest_counts(space: ResolvedSpace) -> None:
    alone = [size(CostInputs(space=space, formats=[format])).values for format in (as_asked, multibit)]
    np.testing.assert_array_equal(size(CostInputs(space=space, formats=[as_asked, multibit])).values, np.maximum(*alone))
    eight_as_planes: StoredAs = lambda asked: multibit(asked) if asked.bits == 8 else ternary(asked)  # noqa: E731
    costs = compute_costs(["size", "bits"], CostInputs(space=space, formats=[eight_as_planes, stored_as_grid]))
    column = space.choices.index(Choice(8))
    assert costs["size"].values[0, column] == alone[1][0, column] > alone[0][0, column]
    assert costs["size"].total({"a": Choice(2)}) == size(CostInputs(space=space)).total({"a": Choice(2)})


def test_bytes_of_formats_with_a_name_by_hand() -> None:
    """Nine channels of 100 weights: 180 bytes of trits; 900 codes of 2 and 4 bits; 18 sign planes and nine numbers of them."""
    named = tuple(NumberFormat.parse(text) for text in ("t", "h2", "p4", "m2"))
    found = size(CostInputs(space=Space(name="s", weights=named).resolve([LAYER], file_overhead=1000)))
    rest = 1000 + 2 + 18
    assert {str(choice): found.total({"a": choice}) - rest for choice in found.choices} == {
        "wtaf": 180 + 18,
        "wh2af": 225 + 18,
        "wm2af": 225 + 5 + 36,
        "wp4af": 450 + 18,
    }


def test_a_method_that_cannot_write_a_format_is_left_out_of_the_largest() -> None:
    space = Space(name="s", weights=(NumberFormat("ternary", 2), 2)).resolve([LAYER])
    planes = size(CostInputs(space=space, formats=[lambda asked: None if asked.kind == "ternary" else multibit(asked), stored_as_grid]))
    assert planes.total({"a": Choice.parse("wtaf")}) == 2 + 18 + 180 + 18
    assert planes.total({"a": Choice(2)}) == 2 + 18 + 225 + 5 + 36
