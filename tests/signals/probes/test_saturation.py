"""S8 of the sheet's section 7, the arithmetic: identities of section 4, the example of 48 layers, monotony."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpsearch.signals.probes.saturation import aumann_shapley, coefficients, common_ceiling, damage

rates = st.lists(st.floats(0, 0.6), min_size=1, max_size=30).map(np.array)
ceilings = st.floats(1e-3, 1e3)


def rates_of(layers: int) -> NDArray[np.float64]:
    return np.random.default_rng(layers).uniform(0.01, 0.25, layers)


def test_twenty_layers_are_recovered() -> None:
    a, ceiling = rates_of(20), 2.5
    values = aumann_shapley(-np.log1p(-a), ceiling)
    assert values.sum() == pytest.approx(ceiling * (1 - math.prod(1 - a)), rel=1e-15 * 8)
    found = coefficients(values, ceiling)
    assert found is not None
    assert np.abs(-np.expm1(-found) - a).max() < 5e-12


@given(rates, ceilings)
def test_values_add_up_to_the_damage_of_all(a: NDArray[np.float64], ceiling: float) -> None:
    b = -np.log1p(-a)
    assert aumann_shapley(b, ceiling).sum() == pytest.approx(damage(ceiling * b.sum(), ceiling), rel=1e-12, abs=1e-300)


@given(rates, ceilings)
def test_there_and_back(a: NDArray[np.float64], ceiling: float) -> None:
    b = -np.log1p(-a)
    if b.sum() > 4:
        return
    found = coefficients(aumann_shapley(b, ceiling), ceiling)
    assert found is not None
    np.testing.assert_allclose(found, b, atol=1e-9)


@given(st.lists(st.just(0.0) | st.floats(1e-9, 1), min_size=2, max_size=30).map(np.array), st.floats(1.3, 50))
def test_the_sum_is_known_under_any_ceiling(values: NDArray[np.float64], headroom: float) -> None:
    everything = values.sum()
    found = coefficients(values, headroom * everything)
    assert found is not None
    expected = -math.log1p(-1 / headroom) if everything else 0.0
    assert found.sum() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(aumann_shapley(found, headroom * everything), values, atol=1e-8 * everything)


def test_two_layers_by_hand() -> None:
    # φ_1 = C a_1 ∫ (1 − t a_2) dt = C a_1 (1 − a_2/2)
    np.testing.assert_allclose(aumann_shapley(-np.log1p(-np.array([0.5, 0.2])), 2.0), [2 * 0.5 * 0.9, 2 * 0.2 * 0.75], rtol=1e-14)


def test_without_saturation_a_corner_of_48_layers_is_overpriced_by_162_per_cent() -> None:
    a, ceiling = np.full(48, 0.05), 3.0
    b = -np.log1p(-a)
    corner = damage(ceiling * b.sum(), ceiling)
    alone = sum(damage(ceiling * coefficient, ceiling) for coefficient in b)
    assert alone / corner - 1 == pytest.approx(1.624, abs=5e-4)
    assert aumann_shapley(b, ceiling).sum() == pytest.approx(corner)


@given(rates, ceilings, st.data())
def test_damage_rises_with_every_coefficient(a: NDArray[np.float64], ceiling: float, data: st.DataObject) -> None:
    b = -np.log1p(-a)
    more = b.copy()
    more[data.draw(st.integers(0, len(b) - 1))] += data.draw(st.floats(1e-3, 1))
    less, greater = damage(ceiling * b.sum(), ceiling), damage(ceiling * more.sum(), ceiling)
    assert 0 <= less <= greater <= ceiling
    assert less < greater or b.sum() > 20


@given(st.floats(0, 1e-6), ceilings)
def test_a_small_sum_is_its_damage(share: float, ceiling: float) -> None:
    assert damage(share * ceiling, ceiling) == pytest.approx(share * ceiling, rel=1e-6)
    assert damage(share, 0.0) == share


def test_nothing_to_share_and_too_much_to_share() -> None:
    found = coefficients(np.zeros(3), 1.0)
    assert found is not None
    assert (found == 0).all()
    assert coefficients(np.array([0.5, 0.5]), 1.0) is None
    assert coefficients(np.array([0.7, 0.5]), 1.0) is None


def test_the_ceiling_is_raised_until_no_layer_reaches_it() -> None:
    alone, many = np.array([1.0, 0.0]), np.full(10, 0.05)
    assert common_ceiling([many], 2.0) == 2.0
    assert common_ceiling([alone, many], 1.0) == pytest.approx(1.3)
    assert common_ceiling([alone], 1 / 0.996) == pytest.approx(1.3 / 0.996)
    assert common_ceiling([np.zeros(2)], 0.0) == 0.0
