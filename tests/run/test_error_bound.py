"""How much of the float metric is to be kept, as a bound on the error."""

from __future__ import annotations

import pytest

from mpsearch.config.keep import KeepConfig
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, UsageError
from mpsearch.core.record import Score
from mpsearch.propose.threshold import Bound
from mpsearch.run.error_bound import bound_of, error_within, metric_of, rises, search_budgets
from tests.propose.worlds import World

ACCURACY = Score(loss=0.3, error=0.1, metric=0.9)
PERPLEXITY = Score(loss=3.0, error=20.0, metric=20.0)
OPPOSITE = Score(loss=0.1, error=-0.8, metric=0.8)


@pytest.mark.parametrize(
    ("score", "metric", "asked", "error", "bound"),
    [
        (ACCURACY, "accuracy", {"share": 0.99}, 0.109, 0.891),
        (ACCURACY, "accuracy", {"drop": 0.5}, 0.105, 0.895),
        (PERPLEXITY, "perplexity", {"share": 0.8}, 25.0, 25.0),
        (PERPLEXITY, "perplexity", {"drop": 0.5}, 20.5, 20.5),
        (OPPOSITE, "R2", {"share": 0.5}, -0.4, 0.4),
        (OPPOSITE, "R2", {"drop": 0.1}, -0.7, 0.7),
    ],
)
def test_bounds_of_every_kind_of_metric(score: Score, metric: str, asked: dict[str, float], error: float, bound: float) -> None:
    found = error_within(score, metric, rises(score), **asked)
    assert found == pytest.approx(error)
    assert metric_of(found, score, rises(score)) == pytest.approx(bound)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a share of a R2 of -0\.2 says nothing; ask by --max-drop"):
        error_within(Score(loss=1, error=0.2, metric=-0.2), "R2", True, share=0.9)


def test_the_grain_of_a_metric_that_counts_is_one_sample() -> None:
    bound = bound_of(KeepConfig(share=0.99), ACCURACY, "accuracy", 200)
    assert bound.resolution == 1 / 200
    assert bound.holds(0.109 + 1e-9)
    assert not bound.holds(0.11)
    assert bound_of(KeepConfig(share=0.8), PERPLEXITY, "perplexity", 200).resolution < 1e-3


def test_without_a_limit_everything_the_space_reaches_may_be_used() -> None:
    world = World(0)
    costs = {"size": world.size}
    (budget,) = search_budgets((), KeepConfig(share=0.9), world.space, costs)
    assert budget.limit == max(world.sizes.values())
    given = (Budget("size", 5.0, "5 B"),)
    assert search_budgets(given, KeepConfig(share=0.9), world.space, costs) == given
    assert search_budgets(given, None, world.space, costs) == given
    with pytest.raises(BudgetError, match="'latency', which is to be small, is none of size"):
        search_budgets((), KeepConfig(share=0.9, cost="latency"), world.space, costs)


def test_a_bound_reads_up_to_rounding() -> None:
    assert Bound(cost="size", error=0.3, reference=(0.1, 0.1), resolution=0.01).holds(0.1 + 0.2)
