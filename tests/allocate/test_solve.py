"""The solver against brute force, and its promises about scale, order, exactness and messages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.allocate.enumeration import CoreTooLarge
from mpsearch.allocate.highs import branch_and_bound
from mpsearch.allocate.reach import reachable
from mpsearch.allocate.solve import check_budgets, meets, monotone, solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.layer import Layer
from mpsearch.core.peak import CostTable, Peak
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.core.unquantized import Unquantized

CHOICES = tuple(Choice(bits) for bits in (2, 4, 6, 8))
Instance = tuple[ResolvedSpace, Table, dict[str, CostTable], list[Budget]]


def layer(name: str, weights: int = 10) -> Layer:
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Linear",
        weight_shape=(1, weights),
        channels=1,
        macs=weights,
        input_elements=weights,
        output_elements=1,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )


def make_space(menus: Sequence[Sequence[Choice]], groups: Sequence[Sequence[int]] | None = None) -> ResolvedSpace:
    return ResolvedSpace(
        layers=tuple(layer(f"l{i}") for i in range(len(menus))),
        menus=tuple(tuple(sorted(menu)) for menu in menus),
        groups=tuple(tuple(group) for group in groups or [(i,) for i in range(len(menus))]),
    )


def make_table(space: ResolvedSpace, values: object, name: str = "score", base: float = 0.0) -> Table:
    array = np.asarray(values, dtype=np.float64)[:, : len(space.choices)]
    array = np.where(space.allowed, array, np.nan)
    return Table(name=name, unit="u", layers=space.names, choices=space.choices, values=array, base=base)


def allocations(space: ResolvedSpace) -> Iterator[Allocation]:
    for picks in itertools.product(*(space.menus[group[0]] for group in space.groups)):
        chosen = {index: pick for group, pick in zip(space.groups, picks, strict=True) for index in group}
        yield Allocation({name: chosen[index] for index, name in enumerate(space.names)})


def exact(cost: CostTable, allocation: Mapping[str, Choice]) -> Fraction:
    column = {choice: c for c, choice in enumerate(cost.choices)}
    return max(
        Fraction(table.base)
        + sum((Fraction(float(table.values[row, column[allocation[name]]])) for row, name in enumerate(table.layers)), Fraction(0))
        for table in cost.rows
    )


def brute_force(space: ResolvedSpace, objective: Table, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> list[Fraction]:
    """Objectives of all allocations within the budgets, best first."""
    return sorted(
        exact(objective, allocation)
        for allocation in allocations(space)
        if all(exact(costs[budget.cost], allocation) <= Fraction(budget.limit) for budget in budgets)
    )


@st.composite
def problems(draw: st.DrawFn, unit: int = 1, rows: int = 1) -> Instance:
    length = draw(st.integers(1, 8))
    most = 4 if length < 7 else 3  # brute force counts in fractions
    menus = [sorted(draw(st.sets(st.sampled_from(CHOICES), min_size=1, max_size=most))) for _ in range(length)]
    tied = [draw(st.integers(0, i)) if length > 2 and draw(st.booleans()) else i for i in range(length)]
    groups = [group for first in range(length) if (group := [i for i in range(length) if tied[i] == first])]
    for group in groups:
        for index in group:
            menus[index] = menus[group[0]]
    space = make_space(menus, groups)
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    span = draw(st.sampled_from([3, 1000]))
    objective = make_table(
        space, generator.integers(-span, span, (length, 4)) if draw(st.booleans()) else generator.normal(size=(length, 4))
    )
    names = [f"c{m}" for m in range(draw(st.integers(1, 3)))]
    costs: dict[str, CostTable] = {}
    budgets = []
    for name in names:
        tables = []
        for _ in range(rows):
            values = generator.integers(0, span, (length, 4)) + unit * generator.integers(0, 50, (length, 4)) * (unit > 1)
            tables.append(make_table(space, values, name, base=float(draw(st.integers(0, 5)))))
        costs[name] = tables[0] if rows == 1 else Peak(tuple(tables))
        low, high = reachable(space, costs[name])
        limit = math.floor(low + draw(st.floats(-0.05, 1.0)) * (high - low))
        budgets.append(Budget(name, float(limit), f"{limit}u of {name}"))
    return space, objective, costs, budgets


def check_against_brute_force(problem: Instance) -> None:
    space, objective, costs, budgets = problem
    feasible = brute_force(space, objective, costs, budgets)
    if not feasible:
        with pytest.raises(BudgetError):
            solve(space, objective, costs, budgets)
        return
    solution = solve(space, objective, costs, budgets)
    assert solution.optimal
    assert solution.gap == 0.0
    assert space.check(solution.allocation) == solution.allocation
    scale = float(np.nanmax(np.abs(objective.values)))
    assert float(exact(objective, solution.allocation) - feasible[0]) <= 1e-11 * scale
    assert solution.objective == pytest.approx(float(feasible[0]), abs=1e-11 * scale)
    assert meets(solution.allocation, costs, budgets)
    for budget in budgets:
        amount = exact(costs[budget.cost], solution.allocation)
        assert amount <= Fraction(budget.limit)
        assert solution.amounts[budget.cost] == amount
        assert solution.slack[budget.cost] == Fraction(budget.limit) - amount


@settings(deadline=None, max_examples=200)
@given(problems())
def test_equals_brute_force(problem: Instance) -> None:
    check_against_brute_force(problem)


@settings(deadline=None, max_examples=100)
@given(problems(unit=2**40))
def test_whole_numbers_of_any_size_are_compared_exactly(problem: Instance) -> None:
    check_against_brute_force(problem)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([2, 5, 12]).flatmap(lambda rows: problems(rows=rows)))
def test_the_largest_of_several_sums_is_held_exactly(problem: Instance) -> None:
    check_against_brute_force(problem)


def branch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No enumeration; branch and bound in this process, which spares the tests hundreds of children."""

    def too_large(*_: object) -> None:
        raise CoreTooLarge

    monkeypatch.setattr("mpsearch.allocate.knapsack_solver.enumerate_core", too_large)
    monkeypatch.setattr("mpsearch.allocate.knapsack_solver.branch_and_bound_in_child", branch_and_bound)


@pytest.mark.parametrize("unit", [1, 2**40])
def test_branch_and_bound_equals_brute_force(unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    branch_only(monkeypatch)

    @settings(deadline=None, max_examples=100)
    @given(problems(unit=unit))
    def check(problem: Instance) -> None:
        check_against_brute_force(problem)

    check()


@pytest.mark.parametrize("score", [0.0, 1.0, 1e-310])
def test_branch_and_bound_takes_scores_that_are_all_alike(score: float, monkeypatch: pytest.MonkeyPatch) -> None:
    branch_only(monkeypatch)
    space, _, costs, budgets = random_problem(0)
    flat = make_table(space, np.full((12, 4), score))
    first = solve(space, flat, costs, budgets).allocation
    second = solve(space, flat, costs, budgets, exclude=[first]).allocation
    assert second != first
    assert meets(second, costs, budgets)


def random_problem(seed: int, length: int = 12) -> tuple[ResolvedSpace, Table, dict[str, Table], list[Budget]]:
    generator = np.random.default_rng(seed)
    space = make_space([CHOICES] * length)
    bits = np.array([choice.weight.bits for choice in CHOICES])
    weights = np.exp(generator.normal(8, 1.5, length)).round()[:, None]
    macs = np.exp(generator.normal(8, 1.5, length)).round()[:, None]
    objective = make_table(space, np.exp(generator.normal(0, 1.5, (length, 1))) * 4.0**-bits * generator.uniform(0.9, 1.1, (length, 4)))
    costs = {"size": make_table(space, weights * bits, "size"), "bops": make_table(space, macs * bits, "bops")}
    budgets = [Budget(name, float(sum(reachable(space, table)) // 2.5), name) for name, table in costs.items()]
    return space, objective, costs, budgets


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e3, 1e9])
@pytest.mark.parametrize("seed", range(5))
def test_scale_of_the_scores_does_not_matter(seed: int, scale: float) -> None:
    space, objective, costs, budgets = random_problem(seed)
    scaled = make_table(space, objective.values * scale)
    assert solve(space, scaled, costs, budgets).allocation == solve(space, objective, costs, budgets).allocation


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_order_of_the_layers_does_not_matter(seed: int, tied: bool) -> None:
    space, objective, costs, budgets = random_problem(seed)
    if tied:
        space = make_space([CHOICES] * 12, [[0, 7], [1, 3, 4], [2], [5], [6, 11], [8], [9], [10]])
    order = np.random.default_rng(seed).permutation(len(space.layers))
    place = {int(index): position for position, index in enumerate(order)}
    shuffled = ResolvedSpace(
        layers=tuple(space.layers[i] for i in order),
        menus=tuple(space.menus[i] for i in order),
        groups=tuple(sorted(tuple(sorted(place[i] for i in group)) for group in space.groups)),
    )
    there = solve(shuffled, objective, costs, budgets)
    assert dict(there.allocation) == dict(solve(space, objective, costs, budgets).allocation)
    assert list(there.allocation) == list(shuffled.names)


def test_columns_of_a_table_are_found_by_name() -> None:
    space, objective, costs, budgets = random_problem(0)
    reversed_table = Table(
        name="score", unit="u", layers=objective.layers[::-1], choices=objective.choices[::-1], values=objective.values[::-1, ::-1]
    )
    assert solve(space, reversed_table, costs, budgets) == solve(space, objective, costs, budgets)


def test_tied_layers_are_summed_and_get_one_choice() -> None:
    space = make_space([CHOICES[:2]] * 3, groups=[(0, 2), (1,)])
    objective = make_table(space, [[5, 0], [8, 0], [5, 0]])
    size = make_table(space, [[1, 2], [1, 3], [1, 2]], "size")
    solution = solve(space, objective, {"size": size}, [Budget("size", 5.0, "5B")])
    assert solution.allocation.to_dict() == {"l0": "w4af", "l1": "w2af", "l2": "w4af"}
    assert solution.objective == 8


def test_equal_scores_take_the_cheaper_choice() -> None:
    space = make_space([CHOICES] * 3)
    size = make_table(space, [[2, 4, 6, 8]] * 3, "size")
    solution = solve(space, make_table(space, np.zeros((3, 4))), {"size": size}, [Budget("size", 20.0, "20B")])
    assert solution.slack == {"size": 14.0}


@settings(deadline=None, max_examples=50)
@given(problems(), st.integers(1, 4))
def test_excluding_answers_walks_down_the_ranking(problem: Instance, steps: int) -> None:
    space, objective, costs, budgets = problem
    ranking = brute_force(space, objective, costs, budgets)
    scale = float(np.nanmax(np.abs(objective.values)))
    seen: list[Allocation] = []
    for expected in ranking[:steps]:
        solution = solve(space, objective, costs, budgets, exclude=seen)
        assert solution.allocation not in seen
        assert solution.objective == pytest.approx(float(expected), abs=1e-11 * scale)
        seen.append(solution.allocation)
    if ranking and len(seen) == len(ranking):
        with pytest.raises(BudgetError, match="no allocation is left"):
            solve(space, objective, costs, budgets, exclude=seen)


def test_fractions_that_add_up_to_the_limit_meet_it() -> None:
    space = make_space([CHOICES] * 6)
    weights = np.array([3, 7, 11, 13, 17, 19])
    bits = make_table(space, np.outer(weights / weights.sum(), [2, 4, 6, 8]), "bits")
    solution = solve(space, make_table(space, [[9, 4, 2, 1]] * 6), {"bits": bits}, [Budget("bits", 2.0, "2bit")])
    assert set(solution.allocation.to_dict().values()) == {"w2af"}
    assert solution.slack["bits"] == pytest.approx(0, abs=1e-12)


def test_one_unit_decides() -> None:
    space = make_space([CHOICES[:2]] * 2)
    size = make_table(space, [[10**15, 10**15 + 1]] * 2, "size")
    objective = make_table(space, [[3, 0], [2, 0]])
    costs = {"size": size}
    assert solve(space, objective, costs, [Budget("size", 2e15 + 1, "x")]).objective == 2
    assert solve(space, objective, costs, [Budget("size", 2e15, "x")]).objective == 5
    assert solve(space, objective, costs, [Budget("size", 2e15 + 2, "x")]).objective == 0


def test_budget_below_the_smallest_says_the_range() -> None:
    space = make_space([CHOICES[:2]] * 2)
    size = make_table(space, [[20_000, 40_000]] * 2, "size", base=1216)
    for call in (
        lambda budget: check_budgets(space, {"size": size}, [budget]),
        lambda budget: solve(space, size, {"size": size}, [budget]),
    ):
        with pytest.raises(
            BudgetError, match=r"30KB is below the smallest size this space can reach, 41,216 B \(it reaches up to 81,216 B\)"
        ) as caught:
            call(Budget("size", 30_000.0, "30KB"))
        assert (caught.value.smallest, caught.value.largest) == (41_216, 81_216)


def test_budget_below_the_smallest_names_what_no_bits_reduce() -> None:
    space = make_space([CHOICES[:2]] * 2)
    table = Unquantized(reason="buffer", tensors=1, bytes=9_000, parameters=0, largest=("positions",), largest_bytes=(9_000,))
    size = make_table(space, [[20_000, 40_000]] * 2, "size", base=10_216)
    with pytest.raises(BudgetError, match=r"fewer bits; 9,000 B of it stay float whatever the bits, the largest: positions 9,000 B$"):
        check_budgets(replace(space, unquantized=(table,)), {"size": size}, [Budget("size", 30_000.0, "30KB")])
    with pytest.raises(BudgetError, match=r"raise the budget, for no bits can meet it; 9,000 B of it stay float"):
        check_budgets(replace(space, unquantized=(table,)), {"size": size}, [Budget("size", 8_000.0, "8KB")])
    with pytest.raises(BudgetError) as little:
        check_budgets(
            replace(space, unquantized=(replace(table, bytes=9, largest_bytes=(9,)),)), {"size": size}, [Budget("size", 1.0, "1B")]
        )
    assert "positions" not in str(little.value)


@pytest.mark.parametrize("limit", [81_216.0, 100_000.0])
def test_budget_that_cannot_bind_leaves_nothing_to_search(limit: float) -> None:
    space = make_space([CHOICES[:2]] * 2)
    size = make_table(space, [[20_000, 40_000]] * 2, "size", base=1216)
    with pytest.raises(BudgetError, match="nothing to search") as caught:
        check_budgets(space, {"size": size}, [Budget("size", limit, "100KB")])
    assert (caught.value.smallest, caught.value.largest) == (41_216, 81_216)
    check_budgets(space, {"size": size}, [Budget("size", 81_215.0, "81215B")])


def test_a_space_of_one_choice_is_one_allocation_that_fits_or_not() -> None:
    space = make_space([CHOICES[:1]] * 2)
    size = make_table(space, [[20_000]] * 2, "size", base=1216)
    check_budgets(space, {"size": size}, [Budget("size", 50_000.0, "50KB")])
    with pytest.raises(BudgetError, match="41,216 B") as caught:
        check_budgets(space, {"size": size}, [Budget("size", 40_000.0, "40KB")])
    assert caught.value.smallest == 41_216


def test_a_cost_that_no_choice_changes_is_said() -> None:
    """Latency of float activations does not depend on the weights' bits."""
    space = make_space([CHOICES] * 2)
    flat = make_table(space, [[3.0] * len(CHOICES)] * 2, "bops")
    with pytest.raises(BudgetError, match="no choice in this space changes it; limit another cost"):
        check_budgets(space, {"bops": flat}, [Budget("bops", 100.0, "100BOPs")])


def test_one_loose_budget_beside_a_binding_one_is_fine() -> None:
    space, _, costs, budgets = random_problem(0)
    check_budgets(space, costs, [budgets[0], Budget("bops", 1e12, "1TBOPs")])


def test_budgets_that_exclude_each_other_are_named() -> None:
    space = make_space([CHOICES[:2]] * 2)
    costs = {"size": make_table(space, [[1, 9], [1, 9]], "size"), "bops": make_table(space, [[9, 1], [9, 1]], "bops")}
    budgets = [Budget("size", 5.0, "5B"), Budget("bops", 12.0, "12BOPs")]
    expected = (
        "budgets 5B and 12BOPs exclude each other: under 5B the smallest bops is 18 BOPs, under 12BOPs the smallest size is 10 B "
        r"\(smallest alone: size 2 B, bops 2 BOPs\)"
    )
    for refused in (lambda: solve(space, costs["size"], costs, budgets), lambda: check_budgets(space, costs, budgets)):
        with pytest.raises(BudgetError, match=expected):
            refused()


def test_three_budgets_that_only_together_exclude_each_other() -> None:
    space = make_space([CHOICES[:3]])
    values = {"a": [[0, 0, 1]], "b": [[0, 1, 0]], "c": [[1, 0, 0]]}
    costs = {name: make_table(space, row, name) for name, row in values.items()}
    with pytest.raises(BudgetError, match="cannot hold together, though any two of them can"):
        solve(space, costs["a"], costs, [Budget(name, 0.5, name) for name in costs])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["score", "size"])
def test_missing_number_names_table_layer_and_choice(which: str, bad: float) -> None:
    space = make_space([CHOICES] * 2)
    tables = {name: make_table(space, np.ones((2, 4)), name) for name in ("score", "size")}
    tables[which].values[1, 2] = bad
    with pytest.raises(ValueError, match=rf"'{which}' has {bad} for layer 'l1' at w6af"):
        solve(space, tables["score"], {"size": tables["size"]}, [Budget("size", 2.0, "2B")])


def test_table_of_another_space_is_refused() -> None:
    space = make_space([CHOICES] * 2)
    small = make_space([CHOICES[:3]])
    with pytest.raises(ValueError, match="lacks l1, w8af"):
        reachable(space, make_table(small, np.ones((1, 3)), "size"))


def test_budget_without_a_table_is_refused() -> None:
    space = make_space([CHOICES])
    with pytest.raises(BudgetError, match="'latency', which was not computed; computed: none"):
        solve(space, make_table(space, np.ones((1, 4))), {}, [Budget("latency", 1.0, "1s")])


def test_no_budget_takes_the_best_of_every_layer() -> None:
    space = make_space([CHOICES] * 2)
    assert solve(space, make_table(space, [[3, 2, 1, 4], [1, 2, 3, 4]]), {}, []).objective == 2


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6))
def test_monotone_is_the_least_table_that_never_rewards_fewer_bits(scores: list[float]) -> None:
    menu = [Choice(w, a) for w in (2, 4) for a in (2, 4, 8)]
    space = make_space([menu])
    raised = monotone(make_table(space, [scores]), space).values[0]
    for k, choice in enumerate(space.choices):
        richer = [
            j
            for j, other in enumerate(space.choices)
            if other.weight.bits >= choice.weight.bits and other.activation.bits >= choice.activation.bits
        ]
        assert raised[k] == max(scores[j] for j in richer)


def test_monotone_skips_choices_off_the_menu() -> None:
    space = make_space([CHOICES, CHOICES[:2]])
    raised = monotone(make_table(space, [[1, 3, 2, 0], [5, 4, 9, 9]]), space).values
    np.testing.assert_array_equal(raised, [[3, 3, 2, 0], [5, 4, np.nan, np.nan]])


@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_layers_with_two_budgets_are_proven(seed: int) -> None:
    space, objective, costs, budgets = random_problem(seed, length=300)
    solution = solve(space, objective, costs, budgets)
    assert solution.optimal
    assert meets(solution.allocation, costs, budgets)


def test_many_equal_layers_do_not_explode() -> None:
    space = make_space([CHOICES] * 60)
    objective = make_table(space, [[16, 8, 3, 1]] * 60)
    size = make_table(space, [[2, 4, 6, 8]] * 60, "size")
    best = solve(space, objective, {"size": size}, [Budget("size", 301.0, "301B")])
    assert best.amounts["size"] == 300
    assert best.objective == min(
        16 * a + 8 * b + 3 * c + d
        for a in range(61)
        for b in range(61 - a)
        for c in range(61 - a - b)
        if 2 * a + 4 * b + 6 * c + 8 * (d := 60 - a - b - c) <= 301
    )


@pytest.mark.parametrize("seed", range(8))
def test_an_unproven_answer_says_how_far_it_may_be_off(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(seed, length=60)
    best = solve(*problem)
    branch_only(monkeypatch)
    monkeypatch.setattr("mpsearch.allocate.highs._MOST_NODES", 1)
    hasty = solve(*problem)
    assert best.optimal
    assert hasty.optimal == (hasty.gap == 0.0)
    assert hasty.objective - hasty.gap <= best.objective + 1e-12 <= hasty.objective + 2e-12
    assert meets(hasty.allocation, problem[2], problem[3])
