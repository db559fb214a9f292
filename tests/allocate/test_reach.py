"""How small and how large a cost gets, against brute force; for the largest of several sums, whose smallest needs a search, too."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.allocate.reach import reachable, smallest_under
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.peak import CostTable, Peak
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table
from tests.layers import linear_layers


def everything(space: ResolvedSpace) -> list[Allocation]:
    picks = itertools.product(*(space.menus[group[0]] for group in space.groups))
    return [Allocation({space.names[i]: c for group, c in zip(space.groups, picked, strict=True) for i in group}) for picked in picks]


@st.composite
def spaces_and_costs(draw: st.DrawFn) -> tuple[ResolvedSpace, CostTable, CostTable]:
    length = draw(st.integers(2, 5))
    ties = (("l0", "l1"),) if draw(st.booleans()) else ()
    space = Space(name="s", weights=(2, 4, 8), ties=ties).resolve(linear_layers(length))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    eighths = draw(st.booleans())

    def table() -> Table:
        values = random.integers(0, 200, (length, 3)) / (8 if eighths else 1)
        return Table(name="c", unit="u", layers=space.names, choices=space.choices, values=values, base=float(random.integers(0, 9)))

    rows = draw(st.integers(1, 10))
    return space, table() if rows == 1 else Peak(tuple(table() for _ in range(rows))), table()


@settings(max_examples=60)
@given(spaces_and_costs())
def test_reachable_is_the_exact_range(case: tuple[ResolvedSpace, CostTable, CostTable]) -> None:
    space, cost, _ = case
    totals = [cost.total(allocation) for allocation in everything(space)]
    assert reachable(space, cost) == (min(totals), max(totals))


@settings(max_examples=60)
@given(spaces_and_costs(), st.floats(0, 1))
def test_the_smallest_under_a_budget_is_exact(case: tuple[ResolvedSpace, CostTable, CostTable], share: float) -> None:
    space, cost, other = case
    totals = [(other.total(allocation), cost.total(allocation)) for allocation in everything(space)]
    low, high = min(totals)[0], max(totals)[0]
    limit = low + share * (high - low)
    found = smallest_under(space, cost, {"other": other}, [Budget("other", limit, "b")], 60.0)
    assert found == min(own for beside, own in totals if beside <= limit)
    assert smallest_under(space, cost, {"other": other}, [Budget("other", low - 1, "b")], 60.0) is None
