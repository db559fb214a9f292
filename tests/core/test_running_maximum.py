from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.choice import Choice
from mpsearch.core.running_maximum import running_maximum

BITS = [(w, a) for w in (2, 4, 8) for a in (4, 32)]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=6, max_size=6))
def test_a_score_is_the_highest_of_the_choices_with_at_least_its_bits(scores: list[float]) -> None:
    (raised,) = running_maximum(np.array([scores]), [Choice(w, a) for w, a in BITS])
    for k, (weight, act) in enumerate(BITS):
        more = [score for score, (w, a) in zip(scores, BITS, strict=True) if w >= weight and a >= act and not np.isnan(score)]
        if np.isnan(scores[k]):
            assert np.isnan(raised[k])
        else:
            assert raised[k] == max(more)


def test_weight_bits_and_activation_bits_are_not_exchanged() -> None:
    apart = [Choice(2, 8), Choice(4, 4)]
    np.testing.assert_array_equal(running_maximum(np.array([[1.0, 2.0], [5.0, 3.0]]), apart), [[1, 2], [5, 3]])


def test_each_layer_is_on_its_own_and_the_input_stays() -> None:
    choices = [Choice(2), Choice(4), Choice(8)]
    values = np.array([[5.0, 1.0, 3.0], [1.0, np.nan, 2.0]])
    kept = values.copy()
    np.testing.assert_array_equal(running_maximum(values, choices), [[5, 3, 3], [2, np.nan, 2]])
    np.testing.assert_array_equal(values, kept)
