"""Calls in turns."""

from __future__ import annotations

import time

import numpy as np

from mpsearch.run.timing import in_turns, timing_of


def test_each_call_has_its_own_time_and_turns_are_taken() -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = in_turns({"slow": lambda: call("slow", 4e-3), "fast": lambda: call("fast", 5e-4)}, 5)
    assert {name: len(seconds) for name, seconds in found.items()} == {"slow": 5, "fast": 5}
    assert np.median(found["slow"]) >= 4e-3
    assert 5e-4 <= np.median(found["fast"]) < np.median(found["slow"])
    assert order[-4:] == ["slow", "slow", "fast", "fast"]


def test_quartiles_enclose_the_median() -> None:
    timing = timing_of(np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert (timing.low, timing.median, timing.high) == (2.0, 3.0, 4.0)
