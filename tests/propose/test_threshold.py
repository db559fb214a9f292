"""The smallest allocation within a bound on the error, in made-up networks where the loss of every allocation is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.propose.error_link import ErrorLink
from mpsearch.propose.observation import Observation
from mpsearch.propose.threshold import Bound, ThresholdSearcher
from tests.propose.worlds import World


def bound_in(world: World, factor: float = 1.3) -> Bound:
    return Bound(cost="size", error=factor * min(world.losses.values()), reference=(0.2, 0.2), resolution=1e-4)


def searcher_in(world: World, bound: Bound, *budgets: Budget) -> ThresholdSearcher:
    return ThresholdSearcher(world.space, world.signals, {"size": world.size}, budgets, bound=bound)


def measured(world: World, searcher: ThresholdSearcher, trials: int) -> list[Observation]:
    seen: list[Observation] = []
    for _ in range(trials):
        try:
            allocation = searcher.propose(seen).allocation
        except BudgetError:
            break
        loss = world.loss(allocation)
        seen.append(Observation(allocation=allocation, losses={"ptq": loss}, errors={"ptq": loss}))
    return seen


def smallest(world: World, bound: Bound) -> float:
    return min(size for picks, size in world.sizes.items() if world.losses[picks] <= bound.error)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_smallest_is_found_within_fifteen_trials(seed: int) -> None:
    world = World(seed, groups=5)
    bound = bound_in(world)
    searcher = searcher_in(world, bound)
    found = searcher.least_verified(measured(world, searcher, 15))
    assert found is not None
    assert found <= 1.01 * smallest(world, bound)


def test_every_proposal_is_new_and_cheaper_than_what_was_verified() -> None:
    world = World(3, groups=4)
    searcher = searcher_in(world, bound_in(world))
    seen = measured(world, searcher, 8)
    assert len({o.allocation for o in seen}) == len(seen)
    for count in range(3, len(seen)):
        best = searcher.least_verified(seen[:count])
        assert best is None or world.size.total(seen[count].allocation) < best


def test_a_proposal_depends_on_nothing_but_what_was_measured() -> None:
    world = World(4, groups=4)
    seen = measured(world, searcher_in(world, bound_in(world)), 6)
    again = [searcher_in(world, bound_in(world)).propose(seen[:count]).allocation for count in range(6)]
    assert again == [o.allocation for o in seen]


def test_two_workers_get_different_bits() -> None:
    world = World(5, groups=4)
    searcher = searcher_in(world, bound_in(world))
    for count in (0, 4):
        seen = measured(world, searcher, count)
        first = searcher.propose(seen).allocation
        second = searcher.propose(seen, [first]).allocation
        assert len({first, second, searcher.propose(seen, [first, second]).allocation}) == 3


def test_a_limit_on_the_cost_itself_holds() -> None:
    world = World(0)
    bound = replace(bound_in(world), error=0.0)  # out of reach, so that nothing is verified and all of the room is used
    limit = 0.5 * max(world.sizes.values())
    seen = measured(world, searcher_in(world, bound, Budget("size", limit, "half")), 6)
    assert max(world.size.total(o.allocation) for o in seen) <= limit
    with pytest.raises(BudgetError):
        searcher_in(world, bound, Budget("size", 1.0, "1 B"))


def test_errors_below_zero_are_as_good_as_others() -> None:
    """Such as those of R²: the bound is on the error, whatever its sign."""
    world = World(1, groups=4)
    bound = bound_in(world)
    moved = replace(bound, error=bound.error - 1.0, reference=(0.2, -0.8))
    searcher = searcher_in(world, moved)
    seen: list[Observation] = []
    for _ in range(8):
        allocation = searcher.propose(seen).allocation
        loss = world.loss(allocation)
        seen.append(Observation(allocation=allocation, losses={"ptq": loss}, errors={"ptq": loss - 1.0}))
    found = searcher.least_verified(seen)
    assert found is not None
    assert found <= 1.1 * smallest(world, bound)


def test_it_ends_when_nothing_smaller_is_left() -> None:
    world = World(2, groups=2)
    easy = replace(bound_in(world), error=100.0)
    searcher = searcher_in(world, easy)
    seen = measured(world, searcher, 20)
    assert len(seen) < 20
    assert searcher.least_verified(seen) == min(world.sizes.values())


def test_prospects_favour_what_is_cheap_and_holds() -> None:
    world = World(0)
    searcher = searcher_in(world, bound_in(world))
    seen = measured(world, searcher, 8)
    best = searcher.least_verified(seen)
    assert best is not None
    options = [o.allocation for o in seen]
    improvement, margin = searcher.prospects(seen, options, options)
    dearer = np.array([world.size.total(option) >= best for option in options])
    assert (improvement[dearer] == 0).all()
    assert (margin[dearer] == -1).all()


def test_the_line_from_loss_to_error_is_learned() -> None:
    losses = np.linspace(-2, 0, 30)
    errors = 0.5 + 1.5 * losses
    link = ErrorLink.fitted(losses, errors, (-2.0, -2.0))
    assert link.line[1] == pytest.approx(1.5, abs=0.1)
    sure = link.chance(np.array([-1.5, -1.0, -0.5]), np.zeros(3), -1.0)  # the line is at −1 where the log loss is −1
    assert sure[0] > 0.95
    assert sure[1] == pytest.approx(0.5, abs=0.1)
    assert sure[2] < 0.05


def test_before_any_trial_the_line_goes_through_the_float_network() -> None:
    link = ErrorLink.fitted(np.empty(0), np.empty(0), (-1.0, -3.0))
    assert link.chance(np.array([-1.0]), np.zeros(1), -3.0)[0] == pytest.approx(0.5)
