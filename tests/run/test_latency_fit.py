"""The sum over layers against whole networks that are made up, so that the right answer is known."""

from __future__ import annotations

from itertools import product

import pytest

from mpsearch.core.choice import Choice
from mpsearch.costs.latency_profile import LatencyProfile, Timing, WholeNetwork
from mpsearch.run.latency_fit import checked_sum

CELLS = {"a": {Choice(4): 1.0, Choice(8): 2.0}, "b": {Choice(4): 5.0, Choice(8): 3.0}}


def at(seconds: float) -> Timing:
    return Timing(median=seconds, low=seconds, high=seconds)


def profile(*, fixed: float, slope: float, noise: float = 0.0) -> LatencyProfile:
    networks = []
    for number, pair in enumerate(product(*CELLS.values())):
        total = sum(cells[choice] for cells, choice in zip(CELLS.values(), pair, strict=True))
        networks.append(WholeNetwork(choices=pair, timing=at(fixed + slope * total + noise * (-1) ** (number * (number + 1) // 2))))
    return LatencyProfile(
        model="m",
        network="n",
        target="c",
        runtime="r",
        processor="p",
        cores=1,
        threads=1,
        batch=1,
        repeats=3,
        date="today",
        how="made up",
        layers=tuple(CELLS),
        cells={name: {choice: at(seconds) for choice, seconds in cells.items()} for name, cells in CELLS.items()},
        networks=tuple(networks),
    )


def test_a_fixed_part_and_a_slope_are_found_where_they_are() -> None:
    check, correction = checked_sum(profile(fixed=2.0, slope=0.5))
    assert correction is not None
    assert [correction.fixed, correction.slope] == pytest.approx([2.0, 0.5])
    assert check.networks == 4
    assert check.largest == pytest.approx((7 - 5.5) / 5.5)
    assert check.corrected_largest == pytest.approx(0.0, abs=1e-9)


def test_a_sum_that_is_right_is_left_alone() -> None:
    check, correction = checked_sum(profile(fixed=0.0, slope=1.0, noise=0.3))
    assert correction is None
    assert check.corrected_median is not None
    assert check.corrected_median > check.median


@pytest.mark.parametrize(("fixed", "slope"), [(20.0, -1.0), (-1.9, 0.5)])
def test_a_line_that_falls_or_leaves_no_time_is_no_correction(fixed: float, slope: float) -> None:
    """The second: the fastest of all networks was not among those measured."""
    found = profile(fixed=fixed, slope=slope)
    found = LatencyProfile(**{**vars(found), "cells": {**found.cells, "a": {**found.cells["a"], Choice(2): at(0.1)}}})
    assert checked_sum(found)[1] is None
