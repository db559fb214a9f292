"""The largest of several sums, and which of them can be left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpsearch.core.choice import Choice
from mpsearch.core.peak import Peak, without_dominated
from mpsearch.core.table import Table

CHOICES = (Choice(2), Choice(4), Choice(8))


def table(values: object, base: float = 0.0, *, name: str = "c") -> Table:
    array = np.asarray(values, dtype=np.float64)
    return Table(name=name, unit="B", layers=tuple(f"l{i}" for i in range(len(array))), choices=CHOICES, values=array, base=base)


def everything(layers: int) -> list[dict[str, Choice]]:
    return [{f"l{i}": choice for i, choice in enumerate(picked)} for picked in itertools.product(CHOICES, repeat=layers)]


def test_total_is_the_largest_of_the_rows() -> None:
    peak = Peak((table([[1, 2, 3], [0, 0, 0]]), table([[0, 0, 0], [1, 2, 5]], base=1.0)))
    assert [peak.total({"l0": Choice(8), "l1": last}) for last in CHOICES] == [3, 3, 6]
    assert (peak.name, peak.unit, peak.layers, peak.choices) == ("c", "B", ("l0", "l1"), CHOICES)


def test_a_table_is_its_own_only_row() -> None:
    one = table([[1, 2, 3]])
    assert one.rows == (one,)


def test_rows_belong_together() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Peak(())
    with pytest.raises(ValueError, match="differ in name"):
        Peak((table([[1, 2, 3]]), table([[1, 2, 3]], name="d")))


@given(arrays(np.float64, (6, 2, 3), elements=st.integers(0, 6).map(float)), arrays(np.float64, 6, elements=st.integers(0, 3).map(float)))
def test_leaving_out_dominated_rows_changes_no_total(values: np.ndarray, bases: np.ndarray) -> None:
    rows = [table(row, base) for row, base in zip(values, bases.tolist(), strict=True)]
    kept = without_dominated(rows)
    assert all(any(row is one for one in rows) for row in kept)
    for allocation in everything(2):
        assert Peak(kept).total(allocation) == Peak(tuple(rows)).total(allocation)


def test_rows_below_another_in_every_sum_go_even_where_a_cell_is_larger() -> None:
    low, high = table([[0, 1, 2], [0, 0, 0]]), table([[0, 0, 0], [0, 0, 0]], base=3.0)
    assert without_dominated([low, high]) == (high,)
    assert without_dominated([high, high]) == (high,)
    beside = table([[0, 1, 4], [0, 0, 0]])
    assert without_dominated([high, beside]) == (high, beside)
