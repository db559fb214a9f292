from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.errors import DataError
from mpsearch.data.stratify import stratified_order, stratified_split

labels = st.lists(st.integers(0, 4), min_size=10, max_size=120).map(lambda values: np.array(values, dtype=np.int64))


@given(labels, st.integers(0, 2**31))
def test_parts_are_disjoint_and_together_everything(targets: np.ndarray, seed: int) -> None:
    parts = stratified_split(targets, (0.25, 0.15), seed)
    assert [len(part) for part in parts[:2]] == [max(1, round(0.25 * len(targets))), max(1, round(0.15 * len(targets)))]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))


@given(labels, st.integers(0, 2**31), st.floats(0, 1))
def test_every_prefix_is_in_proportion(targets: np.ndarray, seed: int, share: float) -> None:
    length = round(share * len(targets))
    prefix = targets[stratified_order(targets, seed)[:length]]
    classes = np.unique(targets)
    for label in classes:
        fair = length * (targets == label).sum() / len(targets)
        # Each class is rounded by itself: where the rounding of the others adds up, the last one gives way by up to one sample each.
        assert abs((prefix == label).sum() - fair) <= max(1, len(classes) / 2)


def test_equal_classes_are_cut_equally() -> None:
    targets = np.repeat(np.arange(5), 20)
    for part in stratified_split(targets, (0.25, 0.15), seed=3):
        assert np.bincount(targets[part]).tolist() == [len(part) // 5] * 5


def test_the_seed_decides() -> None:
    targets = np.repeat(np.arange(5), 20)
    first, again, other = (stratified_order(targets, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_nothing_left_for_the_rest() -> None:
    with pytest.raises(DataError, match=r"2 samples cannot be cut into shares of 0.5, 0.5 and a rest; add samples"):
        stratified_split(np.array([0, 1]), (0.5, 0.5), 0)
