"""The contract refuses costs that break it: each of these differs from `size` in one promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpsearch.core.peak import CostTable
from mpsearch.costs import COSTS, Cost, CostInputs
from mpsearch.testing import CostContract

SIZE = COSTS["size"]


def negative(inputs: CostInputs) -> CostTable:
    table = SIZE.compute(inputs).rows[0]
    return replace(table, values=-table.values)


def fewer_for_more(inputs: CostInputs) -> CostTable:
    table = SIZE.compute(inputs).rows[0]
    return replace(table, values=1e6 - table.values)


def off_the_menus(inputs: CostInputs) -> CostTable:
    table = SIZE.compute(inputs).rows[0]
    return replace(table, values=np.nan_to_num(table.values))


def drawn(inputs: CostInputs) -> CostTable:
    table = SIZE.compute(inputs).rows[0]
    return replace(table, base=np.random.default_rng().random())


@pytest.fixture
def changed() -> Iterator[Any]:
    """`size` with some fields changed, in its place."""
    suite = CostContract()

    def contract(**fields: Any) -> CostContract:
        suite.cost = stack.enter_context(COSTS.temporarily("size", replace(SIZE, **fields)))
        return suite

    from contextlib import ExitStack

    with ExitStack() as stack:
        yield contract


def test_an_honest_cost_passes(changed: Any) -> None:
    suite = changed()
    suite.test_is_registered_and_says_what_it_is()
    suite.test_is_never_negative()
    suite.test_more_bits_never_cost_less()
    suite.test_is_a_number_exactly_on_the_menus()
    suite.test_is_the_same_each_time()
    suite.test_amounts_are_worded_as_budgets_are_written()


def test_a_cost_that_nobody_registered_is_told_how() -> None:
    suite = CostContract()
    suite.cost = Cost(**{**{name: getattr(SIZE, name) for name in SIZE.__dataclass_fields__}, "name": "bytes"})
    with pytest.raises(Exception, match=r"bytes"):
        suite.test_is_registered_and_says_what_it_is()


@pytest.mark.parametrize(
    ("compute", "promise"),
    [
        (negative, "test_is_never_negative"),
        (fewer_for_more, "test_more_bits_never_cost_less"),
        (off_the_menus, "test_is_a_number_exactly_on_the_menus"),
        (drawn, "test_is_the_same_each_time"),
    ],
)
def test_a_broken_promise_is_noticed(changed: Any, compute: Any, promise: str) -> None:
    with pytest.raises(AssertionError):
        getattr(changed(compute=compute), promise)()


def test_a_report_that_no_budget_reads_is_noticed(changed: Any) -> None:
    with pytest.raises(AssertionError):
        changed(worded="{:.0f} bytes on disk".format).test_amounts_are_worded_as_budgets_are_written()


def test_methods_that_matter_unsaid_are_noticed(changed: Any) -> None:
    with pytest.raises(AssertionError):
        changed(reads_formats=False).test_formats_matter_where_it_says_so()
