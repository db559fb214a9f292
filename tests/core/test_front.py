"""The shape of a front: knees by hand, chosen points against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mpsearch.core.front import knee, representatives


def geometric(count: int) -> list[float]:
    """Costs whose logarithms are evenly spaced."""
    return [float(cost) for cost in np.geomspace(1e5, 1e7, count)]


def area(x: list[float], y: list[float], chosen: tuple[int, ...]) -> float:
    return sum((x[j] - x[i]) * (1 - y[i]) for i, j in itertools.pairwise(chosen))


def test_knee_is_where_the_front_bends() -> None:
    assert knee(geometric(5), [0.5, 0.1, 0.09, 0.08, 0.07]) == 1
    assert knee(geometric(5), [0.50, 0.48, 0.45, 0.06, 0.05]) == 3


def test_knee_of_a_front_without_one_is_its_best_point() -> None:
    assert knee(geometric(4), [0.5, 0.49, 0.48, 0.1]) == 3
    assert knee([3.0], [0.2]) == 0
    assert knee([3.0, 4.0], [0.2, 0.1]) == 1


def test_knee_does_not_depend_on_units() -> None:
    costs, errors = geometric(6), [0.9, 0.4, 0.2, 0.15, 0.14, 0.13]
    assert knee(costs, errors) == knee([8 * cost for cost in costs], [100 * error - 3 for error in errors])


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_a_straight_front_is_spread_evenly(count: int) -> None:
    errors = [float(error) for error in np.linspace(0.9, 0.1, 17)]
    assert representatives(geometric(17), errors, count) == [round(16 * k / (count - 1)) for k in range(count)]


def test_ends_and_knees_are_chosen() -> None:
    errors = [0.90, 0.89, 0.88, 0.40, 0.39, 0.38, 0.37, 0.10, 0.09, 0.08]  # two steep falls
    assert representatives(geometric(10), errors, 4) == [0, 3, 7, 9]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_chosen_points_dominate_as_much_as_any(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    costs = sorted(random.uniform(1, 9, 8).tolist())
    errors = sorted(random.uniform(0, 1, 8).tolist(), reverse=True)
    logs = np.log(costs)
    x = ((logs - logs[0]) / np.ptp(logs)).tolist()
    y = ((np.array(errors) - errors[-1]) / (errors[0] - errors[-1])).tolist()
    rivals = [(0, *inner, 7) for inner in itertools.combinations(range(1, 7), count - 2)]
    chosen = representatives(costs, errors, count)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 7, count)
    assert area(x, y, tuple(chosen)) == pytest.approx(max(area(x, y, rival) for rival in rivals))


def test_few_points_are_all_chosen() -> None:
    assert representatives([1.0, 2.0], [0.5, 0.4], 6) == [0, 1]
    assert representatives([1.0], [0.5], 1) == [0]
    assert representatives([1.0, 2.0, 3.0], [0.5, 0.4, 0.3], 1) == [2]


@pytest.mark.parametrize(
    ("costs", "errors", "told"),
    [
        ([], [], "one or more"),
        ([1.0], [0.1, 0.2], "as many errors"),
        ([1.0, 1.0], [0.2, 0.1], "costs ascend"),
        ([1.0, 2.0], [0.1, 0.2], "errors descend"),
        ([1.0, float("inf")], [0.2, 0.1], "finite"),
    ],
)
def test_what_is_no_front_is_refused(costs: list[float], errors: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        representatives(costs, errors, 3)
    with pytest.raises(ValueError, match=told):
        knee(costs, errors)


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be 1 or more, not 0"):
        representatives([1.0], [0.1], 0)
