"""The annotations of a dataclass are the rules for the JSON data of a stranger."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.checked import Long, checked
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat


@dataclass(frozen=True, kw_only=True)
class Inner:
    number: float


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    note: Long = ""
    count: int = 0
    on: bool = False
    inner: Inner | None = None
    shape: tuple[int, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    amounts: Mapping[str, float] = field(default_factory=dict)
    allocation: Allocation = field(default_factory=lambda: Allocation({}))
    format: NumberFormat | None = None
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    params: Mapping[str, Any] = field(default_factory=dict)


def test_plain_data_become_values() -> None:
    plain = {
        "name": "a",
        "note": "x" * 50_000,
        "count": 3,
        "on": True,
        "inner": {"number": math.inf},
        "shape": [2, 3],
        "bounds": [0, 1.5],
        "amounts": {"size": 1.0},
        "allocation": {"conv": "w4a8", "fc": 4},
        "format": "4g64",
        "values": [[1.0, None]],
        "params": {"lr": [1, "x"]},
    }
    made = checked(Outer, plain)
    assert (made.count, made.on, made.inner, made.shape, made.bounds) == (3, True, Inner(number=math.inf), (2, 3), (0, 1.5))
    assert made.allocation == Allocation({"conv": Choice(4, 8), "fc": Choice(4)})
    assert made.format == NumberFormat.parse("4g64")
    np.testing.assert_array_equal(made.values, [[1.0, math.nan]])
    assert made.params == {"lr": [1, "x"]}


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        (3, "must be a mapping, not 3"),
        ({}, "has no name"),
        ({"name": "a", "colour": 1}, "has the unknown key 'colour'"),
        ({"name": 5}, "name: must be a text of at most 1,000 characters, not 5"),
        ({"name": "x" * 1001}, "name: must be a text of at most 1,000 characters"),
        ({"name": "\ud800"}, "name: must not hold half a surrogate pair, which is no character, not '\\ud800'"),
        ({"name": "a", "note": "x" * 100_001}, "note: must be a text of at most 100,000"),
        ({"name": "a", "count": 1.0}, "count: must be a whole number below 2^64, not 1.0"),
        ({"name": "a", "count": True}, "count: must be a whole number below 2^64, not True"),
        ({"name": "a", "count": 10**5000}, "count: must be a whole number below 2^64, not a number of 16,610 bits"),
        ({"name": "a", "on": 1}, "on: must be true or false, not 1"),
        ({"name": "a", "inner": {"number": 1e308}}, "inner: number: must be a number of at most 1e+100, not 1e+308"),
        ({"name": "a", "inner": {"number": 10**400}}, "inner: number: must be a number"),
        ({"name": "a", "inner": {"number": False}}, "inner: number: must be a number"),
        ({"name": "a", "shape": "abc"}, "shape: must be a list of at most 50,000 entries, not 'abc'"),
        ({"name": "a", "shape": [1] * 50_001}, "shape: must be a list of at most 50,000 entries, not a list of 50,001 entries"),
        ({"name": "a", "bounds": [1.0]}, "bounds: must be a list of 2 entries, not a list of 1 entries"),
        ({"name": "a", "amounts": [1]}, "amounts: must be a mapping of at most 50,000 entries"),
        ({"name": "a", "amounts": {"\x1b[2J": "x"}}, "amounts: '\\x1b[2J': must be a number"),
        ({"name": "a", "allocation": {"conv": "w99"}}, "allocation: conv: choice: a choice is spelled like"),
        ({"name": "a", "allocation": {"conv": True}}, "allocation: conv: must be a text"),
        ({"name": "a", "format": []}, "format: must be a text"),
        ({"name": "a", "values": [[1], [1, 2]]}, "values: must have rows of equal length"),
        ({"name": "a", "values": [["x"]]}, "values: 0: 0: must be a number"),
    ],
)
def test_what_is_not_what_its_field_declares_is_refused_with_its_place(plain: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}") as refusal:
        checked(Outer, plain)
    assert len(str(refusal.value)) < 200


def test_a_type_that_nothing_reads_is_a_mistake_of_ours() -> None:
    @dataclass
    class Odd:
        value: set[int]

    Odd.__annotations__["value"] = set[int]
    with pytest.raises(TypeError, match="nothing here reads"):
        checked(Odd, {"value": []})
