"""The acquisition function of the front: the expected hypervolume improvement, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mpsearch.core.budget import Budget
from mpsearch.propose.frontier import Frontier, Levels, expected_improvement
from mpsearch.propose.indexed_space import IndexedSpace
from tests.propose.worlds import World

Floats = NDArray[np.float64]


def indexed(world: World) -> IndexedSpace:
    return IndexedSpace(space=world.space, costs={"size": world.size}, budgets=tuple(world.budgets))


def some(world: World, count: int = 40) -> NDArray[np.intp]:
    random = np.random.default_rng(0)
    return np.array(list(world.losses), dtype=np.intp)[random.permutation(len(world.losses))[:count]]


def test_expected_improvement_is_the_mean_of_what_samples_improve() -> None:
    samples = np.random.default_rng(0).normal(0.3, 0.7, 400_000)
    found = expected_improvement(np.array([0.3]), np.array([0.7]), 0.1)
    assert float(found[0]) == pytest.approx(float(np.maximum(0.1 - samples, 0).mean()), rel=0.01)


def test_levels_are_evenly_spread_hold_the_budget_and_weigh_it_by_half() -> None:
    world = World(0)
    levels = Levels.around(indexed(world), (0.7, 1.2), 6)
    assert levels.factors == pytest.approx((0.7, 0.8, 0.9, 1.0, 1.1, 1.2))
    assert [program.limits[0] for program in levels.programs] == [np.floor(world.limit * factor) for factor in levels.factors]
    assert 1.0 in Levels.around(indexed(world), (0.7, 1.2), 5).factors
    assert levels.weights.sum() == pytest.approx(1.0)
    assert levels.weights[levels.factors.index(1.0)] > 0.5
    assert levels.budget.limits[0] == world.limit


def test_levels_over_a_range_are_even_in_the_logarithm_and_emphasise_none() -> None:
    levels = Levels.over(indexed(World(0)), 0.5, 5)
    assert levels.factors == pytest.approx([0.5 ** (k / 4) for k in (4, 3, 2, 1, 0)], abs=1e-6)
    assert levels.weights == pytest.approx(np.full(5, 0.2), abs=1e-4)
    assert levels.budget.limits[0] == World(0).limit


def test_only_the_range_is_scaled() -> None:
    world = World(0)
    world.budgets = [Budget("size", world.limit, "a..b", world.limit / 2), Budget("other", 700.0, "c")]
    space = IndexedSpace(space=world.space, costs={"size": world.size, "other": world.size}, budgets=tuple(world.budgets))
    assert space.program_at(0.5).limits.tolist() == [np.floor(world.limit / 2), 700.0]


def test_limits_that_nothing_meets_are_left_out() -> None:
    levels = Levels.around(indexed(World(0)), (0.01, 1.0), 12)
    smallest = sum(World(0).size.values.min(axis=1)) / World(0).limit
    assert levels.factors[0] >= smallest
    assert len(levels.factors) < 12


def test_what_fits_is_what_the_programs_say() -> None:
    world = World(1)
    levels, options = Levels.around(indexed(world), (0.6, 1.3), 8), some(world)
    by_hand = [[program.broken(picks) is None for picks in options] for program in levels.programs]
    assert levels.fitting(options).tolist() == by_hand
    for picks, met in zip(options, np.array(by_hand).T, strict=True):
        assert levels.tightest(picks) == (levels.factors[int(np.argmax(met))] if met.any() else levels.factors[-1])


def test_improvement_is_the_expected_gain_of_the_area_below_the_staircase() -> None:
    """Against samples, with the budget's own half taken out."""
    world = World(2)
    levels, options = Levels.around(indexed(world), (0.6, 1.2), 7), some(world, 5)
    best = np.linspace(0.5, -0.4, len(levels.factors))
    mean, deviation = np.linspace(-0.6, 0.6, 5), np.linspace(0.1, 0.5, 5)
    found = Frontier(levels=levels, best=best).improvement(options, mean, deviation)
    widths = 2 * levels.weights - np.array([factor == 1.0 for factor in levels.factors])
    random = np.random.default_rng(0)
    sizes = np.array([world.sizes[tuple(picks)] for picks in options.tolist()])
    limits = world.limit * np.array(levels.factors)
    for index in range(5):
        samples = random.normal(mean[index], deviation[index], 200_000)
        area = np.zeros_like(samples)
        at_budget = np.zeros_like(samples)
        for limit, width, least in zip(limits, widths, best, strict=True):
            gained = np.maximum(least - samples, 0) * (sizes[index] <= limit)
            area += width * gained
            at_budget = gained if limit == world.limit else at_budget
        assert float(found[index]) == pytest.approx(float((0.5 * area + 0.5 * at_budget).mean()), rel=0.02, abs=1e-4)


def test_with_the_budget_alone_it_is_expected_improvement() -> None:
    world = World(3)
    levels, options = Levels.around(indexed(world), (1.0, 1.0), 12), some(world, 5)
    assert levels.factors == (1.0,)
    mean, deviation = np.linspace(-1, 1, 5), np.full(5, 0.3)
    found = Frontier(levels=levels, best=np.array([0.2])).improvement(options, mean, deviation)
    assert np.array_equal(found, expected_improvement(mean, deviation, 0.2))


def test_several_budgets_all_hold_at_each_level() -> None:
    world = World(4)
    budgets = (*world.budgets, Budget("size", 0.9 * world.limit, "c"))
    levels = Levels.around(IndexedSpace(space=world.space, costs={"size": world.size}, budgets=budgets), (0.8, 1.2), 5)
    options = some(world)
    sizes = np.array([world.sizes[tuple(picks)] for picks in options.tolist()])
    for factor, met in zip(levels.factors, levels.fitting(options), strict=True):
        assert met.tolist() == (sizes <= 0.9 * factor * world.limit).tolist()
