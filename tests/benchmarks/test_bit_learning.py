import math

import pytest
from bit_learning import bisect_price
from hypothesis import given
from hypothesis import strategies as st


@given(middle=st.floats(-3, 3), target=st.floats(2.5, 5.5))
def test_a_falling_curve_is_met_or_closed_in_on(middle: float, target: float) -> None:
    def mean_at(price: float) -> float:
        return 2 + 4 / (1 + math.exp(2 * (math.log(price) - middle)))

    tries = bisect_price(mean_at, target, 1.0, 4.0)
    assert len(tries) <= 6
    assert min(abs(mean - target) for _, mean in tries) <= 0.5
    assert all(mean == pytest.approx(mean_at(price)) for price, mean in tries)


def test_the_first_price_that_serves_ends_the_search() -> None:
    assert bisect_price(lambda price: 3.1, 3.0, 0.7, 2.0) == [(0.7, 3.1)]


def test_prices_rise_while_there_are_too_many_bits() -> None:
    prices = [price for price, _ in bisect_price(lambda price: 8.0, 3.0, 1.0, 3.0)]
    assert prices == [3.0**i for i in range(6)]
