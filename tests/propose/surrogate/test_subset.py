"""Which measurements stay where there are too many, and that few are untouched."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.propose.surrogate.evidence import Evidence
from mpsearch.propose.surrogate.subset import best_and_spread, subset_of


def evidence(*counts: int) -> Evidence:
    """So many measurements at each rung."""
    random = np.random.default_rng(0)
    rungs = np.concatenate([np.full(count, rung, dtype=np.intp) for rung, count in enumerate(counts)])
    return Evidence(picks=random.integers(0, 4, (len(rungs), 5)), rungs=rungs, values=random.normal(size=len(rungs)))


def test_what_fits_is_the_same_object() -> None:
    """So that the arithmetic of small studies is what it was."""
    few = evidence(50)
    assert subset_of(few, most=50) is few


def test_the_best_stay_and_the_rest_is_spread_over_time() -> None:
    many = evidence(500)
    kept = subset_of(many, most=100)
    assert len(kept.values) == 100
    assert set(np.sort(many.values)[:50]) <= set(kept.values)
    places = np.flatnonzero(np.isin(many.values, kept.values))
    assert np.diff(places).max() < 50


def test_deep_measurements_stay_first_and_none_twice() -> None:
    kept = subset_of(evidence(900, 40, 5), most=100)
    assert np.bincount(kept.rungs).tolist() == [55, 40, 5]
    assert np.bincount(subset_of(evidence(900, 900), most=100).rungs).tolist() == [50, 50]


def test_what_is_named_stays() -> None:
    many = evidence(500)
    worst = np.argsort(-many.values)[:7].tolist()
    kept = subset_of(many, worst, most=100)
    assert set(many.values[worst]) <= set(kept.values)
    assert len(np.unique(kept.values)) == len(kept.values)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_indices_are_sorted_and_as_many_as_asked(count: int) -> None:
    found = best_and_spread(np.random.default_rng(1).normal(size=40), count)
    assert len(found) == count
    assert (np.diff(found) > 0).all()
