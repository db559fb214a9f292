from __future__ import annotations

import pytest
import torch

from mpsearch.core.errors import DataError
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.split import Split, pair, require_some, sample_rows
from mpsearch.data.tensor_split import TensorSplit


def test_our_splits_are_splits_and_a_list_is_none() -> None:
    assert isinstance(TensorSplit(torch.zeros(2), torch.zeros(2)), Split)
    assert isinstance(DatasetSplit([(0, 0)]), Split)  # type: ignore[arg-type]
    assert not isinstance([1, 2], Split)


@pytest.mark.parametrize("item", [(1, 2), [1, 2]])
def test_a_pair(item: object) -> None:
    assert pair(item) == (1, 2)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ((1, 2, 3), "a tuple of 3"),
        ([1], "a list of 1"),
        ({"x": 1, "y": 2}, "a dict of 2"),
        (5, "a int"),
        ("ab", "a str"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_pair(item: object, told: str) -> None:
    with pytest.raises(DataError, match=rf"must give \(input, target\), this one gives {told}; wrap it"):
        pair(item)


@pytest.mark.parametrize(
    ("samples", "size", "drop_last", "steps"), [(10, 5, False, 2), (11, 5, False, 3), (11, 5, True, 2), (4, 5, True, 0), (4, 5, False, 1)]
)
def test_steps(samples: int, size: int, drop_last: bool, steps: int) -> None:
    assert TensorSplit(torch.zeros(samples), torch.zeros(samples)).steps(size, drop_last=drop_last) == steps


def test_rows_are_distinct_random_and_fixed_by_the_seed() -> None:
    rows = sample_rows(100, 20, 3)
    assert len(set(rows.tolist())) == 20
    assert set(rows.tolist()) <= set(range(100))
    assert torch.equal(rows, sample_rows(100, 20, 3))
    assert not torch.equal(rows, sample_rows(100, 20, 4))
    assert rows.tolist() != sorted(rows.tolist())
    assert sorted(sample_rows(5, 99, 0).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n", [0, -1])
def test_an_empty_subset_is_refused(n: int) -> None:
    for ask in (require_some, lambda n: sample_rows(5, n, 0)):
        with pytest.raises(DataError, match=f"a subset needs at least 1 sample, {n} were asked for"):
            ask(n)
