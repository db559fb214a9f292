"""The best allocation by what a search has learned, against the truth of made-up networks."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.propose.posterior import Posterior
from tests.propose.worlds import World, played


@pytest.fixture(scope="module", params=range(2))
def ended(request: pytest.FixtureRequest) -> tuple[World, Posterior]:
    world = World(request.param, groups=5)
    searcher = world.searcher(sweep=(0.7, 1.3))
    return world, Posterior(searcher, played(searcher, world.loss, 14)[0])


@pytest.mark.parametrize("factor", [0.7, 0.85, 1.0, 1.25])
def test_best_within_any_budget_near_the_searched_ones(ended: tuple[World, Posterior], factor: float) -> None:
    world, posterior = ended
    limit = np.floor(factor * world.limit)
    found = posterior.best({"size": world.size}, [Budget("size", limit, "b")])
    assert world.size.total(found) <= limit
    truly_best = min(world.losses[picks] for picks, size in world.sizes.items() if size <= limit)
    assert world.loss(found) <= 1.1 * truly_best


def test_expectations_hold_the_truth(ended: tuple[World, Posterior]) -> None:
    world, posterior = ended
    limits = [np.floor(factor * world.limit) for factor in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)]
    found = [posterior.best({"size": world.size}, [Budget("size", limit, "b")]) for limit in limits]
    mean, deviation = posterior.predict(found)
    assert (mean[1:] <= mean[:-1] + 0.02).all()  # a larger budget is not expected to be worse
    truth = np.log([world.loss(each) for each in found])
    assert (np.abs(truth - mean) <= 3 * np.hypot(deviation, posterior.noise)).all()


def test_a_budget_out_of_reach_is_refused(ended: tuple[World, Posterior]) -> None:
    world, posterior = ended
    with pytest.raises(BudgetError, match="below the smallest size"):
        posterior.best({"size": world.size}, [Budget("size", 3.0, "3B")])


def test_prediction_of_what_was_measured_is_its_score(ended: tuple[World, Posterior]) -> None:
    world = ended[0]
    searcher = world.searcher()
    observations, _ = played(searcher, world.loss, 10)
    posterior = Posterior(searcher, observations)
    mean, _ = posterior.predict([observation.allocation for observation in observations])
    assert mean == pytest.approx(np.log([observation.losses["ptq"] for observation in observations]), abs=0.1)
