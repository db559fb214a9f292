from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mpsearch.core.errors import DataError
from mpsearch.data.dataset_split import DatasetSplit


class Numbers(Dataset[Any]):
    """(i + noise from three random sources, i)."""

    def __init__(self, count: int = 12, noise: bool = False) -> None:
        self.count = count
        self.noise = noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        noise = torch.rand(3) + np.random.rand() + random.random() if self.noise else torch.zeros(3)
        return noise + index, index


class Broken(Numbers):
    def __getitem__(self, index: int) -> Any:
        if index == 7:
            raise DataError("the image 'seven.jpg' cannot be read (gone); replace or remove it")
        return super().__getitem__(index)


def seen(split: DatasetSplit, **options: Any) -> torch.Tensor:
    return torch.cat([x for x, _ in split.batches(5, **options)])


def test_a_pass() -> None:
    split = DatasetSplit(Numbers(), rows=[2, 4, 6, 8, 10, 11])
    assert split.indices == (2, 4, 6, 8, 10, 11)
    assert [y.tolist() for _, y in split.batches(4)] == [[2, 4, 6, 8], [10, 11]]
    assert [y.tolist() for _, y in split.batches(4, drop_last=True)] == [[2, 4, 6, 8]]
    assert (split.steps(4), split.steps(4, drop_last=True)) == (2, 1)
    assert sorted(y for _, batch in split.batches(4, shuffle=True, seed=1) for y in batch.tolist()) == [2, 4, 6, 8, 10, 11]


def test_random_transforms_follow_the_seed_not_the_workers_nor_the_world() -> None:
    alone, helped = DatasetSplit(Numbers(noise=True)), DatasetSplit(Numbers(noise=True), workers=2)
    first = seen(alone, shuffle=True, seed=3)
    torch.manual_seed(1)
    random.seed(1)
    assert torch.equal(first, seen(alone, shuffle=True, seed=3))
    assert torch.equal(first, seen(helped, shuffle=True, seed=3))
    assert not torch.equal(seen(alone, seed=3), seen(alone, seed=4))


def test_outer_random_state_stays() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    seen(DatasetSplit(Numbers(noise=True)), shuffle=True, augment=True)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()  # type: ignore[index]


def test_augmented_twin_is_used_only_when_asked() -> None:
    split = DatasetSplit(Numbers(), augmented=Numbers(noise=True))
    assert torch.equal(seen(split), seen(split, seed=9))
    assert not torch.equal(seen(split), seen(split, augment=True))


def test_take() -> None:
    split = DatasetSplit(Numbers(), rows=range(4, 12))
    taken = split.take(3, 1)
    assert taken.indices == split.take(3, 1).indices
    assert set(taken.indices) < set(range(4, 12))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_cannot_be_read_is_one_line(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        list(DatasetSplit(Broken(), workers=workers).batches(4))
    assert str(caught.value) == "the image 'seven.jpg' cannot be read (gone); replace or remove it"


class Triples(Numbers):
    def __getitem__(self, index: int) -> Any:
        return index, index, index


class Worded(Numbers):
    def __getitem__(self, index: int) -> Any:
        return index, "cat"


class Endless(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return index, index


def test_errors() -> None:
    with pytest.raises(DataError, match=r"must give \(input, target\), this one gives a tuple of 3; wrap it"):
        list(DatasetSplit(Triples()).batches(4))
    with pytest.raises(DataError, match="targets must come out of the loader as a tensor, not tuple"):
        list(DatasetSplit(Worded()).batches(4))
    with pytest.raises(DataError, match="the data set Numbers holds no samples"):
        DatasetSplit(Numbers(0))
    with pytest.raises(DataError, match="the data set Endless has no length"):
        DatasetSplit(Endless())


class Uneven(Numbers):
    def __getitem__(self, index: int) -> Any:
        return torch.ones(5 + index % 3), index


def failing(items: list[Any]) -> Any:
    raise KeyError("tokens")


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_make_no_batch_are_one_line(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        list(DatasetSplit(Uneven(), workers=workers).batches(4))
    assert str(caught.value).startswith(
        "the samples do not make a batch (RuntimeError: stack expects each tensor to be equal size, but got [5]"
    )
    assert str(caught.value).endswith("; give all samples one shape, or pass a DataLoader with a collate_fn of your own")
    with pytest.raises(DataError, match=r"do not make a batch \(KeyError: 'tokens'\); correct the collate function"):
        list(DatasetSplit(Numbers(), workers=workers, collate=failing).batches(4))
    assert len(list(DatasetSplit(Uneven(), workers=workers, collate=lambda items: (items, torch.zeros(len(items)))).batches(4))) > 1
