"""The searcher: inside every budget, never twice, quick to the optimum, and calm about bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import Space
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation
from mpsearch.propose.refine import filled_greedily
from mpsearch.propose.searcher import Searcher
from tests.propose.worlds import BITS, World, played, space_of, table


def test_finds_the_optimum_of_an_exhaustive_table_sooner_than_random_and_tpe() -> None:
    import optuna

    ours, blind, tpe = [], [], []
    for seed in (0, 1, 3):
        world = World(seed)
        found = [o.losses["ptq"] for o in played(world.searcher(), world.loss, 12)[0]]
        ours.append(next((n for n, loss in enumerate(found) if loss <= world.best * 1.003), 99))
        random = np.random.default_rng(seed)
        inside = np.array(list(world.losses.values()))[world.inside]
        blind.append(min(random.choice(inside, 30)) / world.best)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

        def objective(trial: optuna.Trial, world: World = world) -> float:
            picks = tuple(trial.suggest_int(f"l{g}", 0, len(BITS) - 1) for g in range(6))
            size = world.size.values[np.arange(6), picks].sum()
            trial.set_constraint("size", size - world.limit)
            return world.losses[picks] if size <= world.limit else 10.0

        study.optimize(objective, n_trials=40)
        tpe.append(study.best_value / world.best)
    assert max(ours) < 12
    assert np.median(blind) > 1.02
    assert np.median(tpe) > 1.02


def test_every_proposal_is_inside_and_new() -> None:
    world = World(7)
    observations, _ = played(world.searcher(sweep=(0.8, 1.0)), world.loss, 12)
    assert len({o.allocation for o in observations}) == 12
    assert all(world.size.total(o.allocation) <= world.limit for o in observations)


def test_limits_out_of_reach_are_left_out() -> None:
    world = World(7)
    _, proposals = played(world.searcher(sweep=(0.01, 1.0)), world.loss, 10)
    smallest = float(world.size.values.min(axis=1).sum()) / world.limit
    factors = [float(p.origin.partition("@")[2]) for p in proposals[3:] if "@" in p.origin]
    assert min(factors) >= smallest - 0.01
    assert len(set(factors)) > 2


def test_a_sweep_is_around_the_budget() -> None:
    for sweep in ((1.0, 0.8), (0.0, 1.0), (1.1, 1.2)):
        with pytest.raises(ValueError, match="a sweep goes from a factor in"):
            World(7).searcher(sweep=sweep)


@pytest.mark.slow
def test_a_front_is_searched_for_beside_the_winner() -> None:
    """Over a sweep the front is closer to the true one than a search of the budget alone leaves it, and the budget's best is found too."""
    gaps: dict[bool, list[float]] = {True: [], False: []}
    found = []
    for seed in range(3):
        world = World(seed)
        limits = np.linspace(0.7, 1.0, 7) * world.limit
        truth = [min(loss for picks, loss in world.losses.items() if world.sizes[picks] <= limit) for limit in limits]
        for swept in (True, False):
            done, _ = played(world.searcher(sweep=(0.7, 1.0) if swept else (1.0, 1.0)), world.loss, 20)
            reached = [min((o.losses["ptq"] for o in done if world.size.total(o.allocation) <= limit), default=10.0) for limit in limits]
            gaps[swept].append(float(np.mean(np.log(np.array(reached) / truth))))
            if swept:
                found.append(reached[-1] / truth[-1])
    assert np.mean(gaps[True]) < 0.5 * np.mean(gaps[False])
    assert np.median(found) < 1.003


def test_no_budget_at_all_is_a_search_of_the_whole_space() -> None:
    space = space_of([10, 20, 30])
    observations, _ = played(Searcher(space, [], {}, []), lambda a: sum(abs(c.weight.bits - 4) + 1 for c in a.values()), 12)
    assert len({o.allocation for o in observations}) == 12


def test_deterministic_in_seed_and_observations() -> None:
    world = World(1)
    whole, _ = played(world.searcher(), world.loss, 8)
    assert played(world.searcher(), world.loss, 8, done=whole[:5])[0] == whole


def test_trials_under_way_are_not_proposed_again_and_change_the_next() -> None:
    world = World(2)
    observations, _ = played(world.searcher(), world.loss, 5)
    searcher = world.searcher()
    pending: list[Allocation] = []
    for _ in range(4):
        pending.append(searcher.propose(observations, pending).allocation)
    assert len({*pending, *(o.allocation for o in observations)}) == 9


def test_initial_allocations_come_after_the_signals() -> None:
    world = World(3)
    start = world.space.uniform(world.space.choices[0])
    _, proposals = played(world.searcher(initial=[("learned:bsq", start)]), world.loss, 5)
    assert [p.origin for p in proposals] == ["milp:fisher", "milp:measured", "milp:bits", "learned:bsq", "ei"]
    assert proposals[3].allocation == start


def test_of_many_signals_one_trial_is_for_all_of_them_together() -> None:
    world = World(3)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.6, (3, *world.signals[0].values.shape)))
    more = [table(world.space, world.signals[0].values * each, f"more{i}") for i, each in enumerate(noise)]
    searcher = world.searcher(signals=[*world.signals, *more])
    _, proposals = played(searcher, world.loss, 3)
    assert [p.origin for p in proposals] == ["milp:signals", "milp:bits", "ei"]
    signals = searcher.surrogate([]).signals
    assert len(signals) == 5
    inside = np.array(list(world.losses))[world.inside]
    totals = signals.mean(axis=0)[np.arange(6), inside].sum(axis=1)
    assert searcher.indexed.picks(proposals[0].allocation).tolist() == inside[totals.argmin()].tolist()


def test_room_is_counted_in_the_costs_of_what_is_handed_over() -> None:
    world = World(3)
    searcher = world.searcher()
    observations, _ = played(searcher, world.loss, 6)
    smaller = {"size": replace(world.size, values=world.size.values * 0.7)}
    start = min((o.allocation for o in observations), key=lambda a: world.loss(a))
    spent = searcher.spend(start, observations, costs=smaller)
    assert world.size.total(searcher.spend(start, observations)) <= world.limit < world.size.total(spent)
    assert smaller["size"].total(spent) <= world.limit
    program = replace(searcher.indexed, costs=smaller).program
    picks = searcher.indexed.picks(spent)
    for group in range(len(picks)):
        for column in np.flatnonzero(searcher.indexed.richer[picks[group]]):
            raised = picks.copy()
            raised[group] = column
            assert program.broken(raised) is not None


def test_refined_proposals_are_swaps_that_spend_the_budget() -> None:
    world = World(4)
    observations, _ = played(world.searcher(), world.loss, 6)
    searcher = world.searcher()
    indexed, program = searcher.indexed, searcher.indexed.program
    for _ in range(4):
        proposal = searcher.propose(observations, refine=True)
        assert proposal.origin == "refine"
        picks = indexed.picks(proposal.allocation)
        for group in range(6):
            for choice in range(picks[group] + 1, len(BITS)):
                raised = picks.copy()
                raised[group] = choice
                assert program.broken(raised) is not None
        observations.append(Observation(allocation=proposal.allocation, losses={"ptq": world.loss(proposal.allocation)}))


@given(st.integers(0, 200))
@example(93)  # more bits are expected to do harm there
@settings(max_examples=20, deadline=None)
def test_what_an_allocation_leaves_of_the_budget_is_spent_as_well_as_it_can_be(seed: int) -> None:
    world = World(seed % 10)
    searcher, random = world.searcher(), np.random.default_rng(seed)
    observations, _ = played(searcher, world.loss, 6)
    indexed = searcher.indexed
    poor = min((o.allocation for o in observations), key=lambda a: sum(choice.weight.bits for choice in a.values()))
    menus = {name: [c for c in world.space.choices if c.weight.bits <= poor[name].weight.bits] for name in poor}
    start = Allocation({name: menu[random.integers(len(menu))] for name, menu in menus.items()})
    spent = searcher.spend(start, observations)
    program = indexed.program
    picks, before = indexed.picks(spent), indexed.picks(start)
    assert program.broken(picks) is None
    assert all(spent[name].weight.bits >= start[name].weight.bits for name in start)
    for group in range(len(picks)):
        for column in np.flatnonzero(indexed.richer[picks[group]]):
            raised = picks.copy()
            raised[group] = column
            assert program.broken(raised) is not None
    surrogate = searcher.surrogate(observations)
    linear = surrogate.linear(float(surrogate.total_damage(before[None])[0]))
    greedy = filled_greedily(indexed, program, before, linear)
    rows = np.arange(len(picks))
    assert linear[rows, picks].sum() <= linear[rows, greedy].sum() + 1e-9


@pytest.mark.parametrize("spoiled", ["constant", "nan", "inf", "upside down", "none", "zero"])
def test_bad_signals_are_left_out_or_put_right(spoiled: str) -> None:
    world = World(6)
    values = world.signals[0].values
    bad = {
        "constant": [np.full_like(values, 0.3)],
        "nan": [np.where(np.arange(4) == 2, np.nan, values)],
        "inf": [np.where(np.arange(4) == 0, np.inf, values)],
        "upside down": [values[:, ::-1].copy()],
        "none": [],
        "zero": [np.zeros_like(values)],
    }[spoiled]
    searcher = world.searcher(signals=[table(world.space, v, "bad") for v in bad])
    observations, proposals = played(searcher, world.loss, 16)
    assert proposals[0].origin == ("milp:bad" if spoiled == "upside down" else "milp:bits")
    assert min(o.losses["ptq"] for o in observations) < 1.1 * world.best


def test_contradictory_signals_are_weighed_by_what_is_measured() -> None:
    world = World(8)
    liar = table(world.space, 1e3 * world.signals[0].values[::-1].copy(), "liar")
    searcher = world.searcher(signals=[liar, *world.signals])
    observations, _ = played(searcher, world.loss, 14)
    liar_weight, *others = searcher.surrogate(observations).prior.weights
    assert liar_weight < max(others)
    assert min(o.losses["ptq"] for o in observations) < 1.05 * world.best


def test_all_trials_failing_still_gives_new_allocations() -> None:
    world = World(9)
    searcher = world.searcher()
    observations: list[Observation] = []
    for _ in range(8):
        observations.append(Observation(allocation=searcher.propose(observations).allocation, losses={}))
    assert len({o.allocation for o in observations}) == 8


def test_infinite_losses_teach_nothing_and_break_nothing() -> None:
    world = World(9)
    losses = iter([np.inf, np.nan, *[None] * 20])
    observations, _ = played(world.searcher(), lambda a: loss if (loss := next(losses)) is not None else world.loss(a), 8)
    assert len(world.searcher().surrogate(observations).evidence.values) == 6


def test_losses_below_zero_are_a_scale_like_any_other() -> None:
    world = World(10)
    observations, _ = played(world.searcher(), lambda a: world.loss(a) - 1.0, 8)
    assert np.isfinite(world.searcher().surrogate(observations).evidence.values).all()


def test_a_budget_only_one_allocation_meets() -> None:
    space = space_of([10, 20, 30])
    size = table(space, np.array([10, 20, 30])[:, None] * np.array(BITS, dtype=np.float64), "size", "B")
    searcher = Searcher(space, [], {"size": size}, [Budget("size", 60.0, "60B")])
    only = searcher.propose([]).allocation
    assert {choice.weight.bits for choice in only.values()} == {1}
    assert not searcher.left([only])
    with pytest.raises(BudgetError, match="every allocation within the budget has been tried"):
        searcher.propose([Observation(allocation=only, losses={"ptq": 1.0})])


def test_a_space_of_one_choice() -> None:
    space = Space(name="s", weights=(4,)).resolve(space_of([10, 20]).layers)
    size = Table(name="size", unit="B", layers=space.names, choices=space.choices, values=np.array([[5.0], [10.0]]))
    searcher = Searcher(space, [], {"size": size}, [Budget("size", 15.0, "15B")])
    only = searcher.propose([]).allocation
    with pytest.raises(BudgetError, match="every allocation"):
        searcher.propose([Observation(allocation=only, losses={"ptq": 1.0})])


def test_budgets_that_exclude_each_other_are_named() -> None:
    space = space_of([10, 20])
    size = table(space, np.array([10, 20])[:, None] * np.array(BITS, dtype=np.float64), "size", "B")
    speed = table(space, 100.0 - size.values, "latency", "s")
    budgets = [Budget("size", 60.0, "60B"), Budget("latency", 100.0, "100s")]
    with pytest.raises(BudgetError, match="60B and 100s exclude each other"):
        Searcher(space, [], {"size": size, "latency": speed}, budgets)


@given(st.integers(0, 1000))
@settings(max_examples=3, deadline=None)
def test_ties_and_menus_and_two_budgets_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    space = space_of(random.integers(5, 50, 5).tolist(), activations=(4, 8), ties=(("l1", "l3"),))
    counts = np.array([layer.weights for layer in space.layers], dtype=np.float64)
    weight_bits = np.array([choice.weight.bits for choice in space.choices], dtype=np.float64)
    act_bits = np.array([choice.activation.bits for choice in space.choices], dtype=np.float64)
    costs = {
        "size": table(space, counts[:, None] * weight_bits, "size", "B"),
        "bops": table(space, counts[:, None] * weight_bits * act_bits, "bops", ""),
    }
    budgets = [Budget("size", float(counts.sum() * 3), "a"), Budget("bops", float(counts.sum() * 15), "b")]
    searcher = Searcher(space, [], costs, budgets, seed=seed)
    observations, _ = played(searcher, lambda a: sum(1 / c.weight.bits + 1 / c.activation.bits for c in a.values()), 6)
    for observation in observations:
        assert space.check(observation.allocation) == observation.allocation
        assert all(costs[b.cost].total(observation.allocation) <= b.limit for b in budgets)


def test_a_range_of_budgets_is_searched_evenly_in_the_logarithm() -> None:
    world = World(1, groups=5)
    least, limit = 0.5 * world.limit, 2.0 * world.limit
    world.budgets = [Budget("size", limit, "a..b", least)]
    _, proposals = played(world.searcher(), world.loss, 16)
    sizes = np.array([world.size.total(proposal.allocation) for proposal in proposals])
    assert sizes.max() <= limit
    thirds = np.histogram(np.log(sizes / least) / np.log(limit / least), bins=[-1.0, 1 / 3, 2 / 3, 1.01])[0]
    assert thirds.min() >= 2
    regrets = []
    for within in np.geomspace(1.05 * least, limit, 8):
        ours = min(world.loss(proposal.allocation) for proposal, size in zip(proposals, sizes, strict=True) if size <= within)
        regrets.append(np.log(ours / min(loss for picks, loss in world.losses.items() if world.sizes[picks] <= within)))
    assert np.mean(regrets) <= 0.15
