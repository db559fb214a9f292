"""Bytes by hand, and the largest of several methods."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.numbers.formats import MULTIBIT, TERNARY, grid_format
from mpsearch.report.palette import UNIFORM


@pytest.fixture
def space() -> ResolvedSpace:
    layer = Layer(
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
    return Space(name="s", weights=(1, 2, 8, 32), activations=(8, 32)).resolve([layer], file_overhead=1000)


def test_bytes_by_hand(space: ResolvedSpace) -> None:
    """Codes, scales, two exponents, nine biases of two bytes, and a step of four bytes where the activation is quantized."""
    rest = 1000 + 2 + 18
    assert size(CostInputs(space=space)).total({"a": Choice(2)}) == rest + 225 + 18
    assert size(CostInputs(space=space)).total({"a": Choice(2, 8)}) == rest + 225 + 18 + 4
    assert size(CostInputs(space=space)).total({"a": Choice(32)}) == rest + 3600
    assert size(CostInputs(space=space, formats=[lambda bits: TERNARY])).total({"a": Choice(2)}) == rest + 180 + 18
    assert size(CostInputs(space=space, formats=[lambda bits: MULTIBIT])).total({"a": Choice(2)}) == rest + 225 + 5 + 36


def test_of_several_methods_the_largest_counts(space: ResolvedSpace) -> None:
    formats = (lambda bits: UNIFORM, lambda bits: MULTIBIT)
    alone = [size(CostInputs(space=space, formats=[format])).values for format in formats]
    np.testing.assert_array_equal(size(CostInputs(space=space, formats=formats)).values, np.maximum(*alone))
    mixed = [lambda bits: MULTIBIT if bits == 8 else TERNARY, grid_format]
    table = size(CostInputs(space=space, formats=mixed))
    column = space.choices.index(Choice(8))
    assert table.values[0, column] == alone[1][0, column] > alone[0][0, column]
    assert table.total({"a": Choice(2)}) == size(CostInputs(space=space)).total({"a": Choice(2)})
