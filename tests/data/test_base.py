from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.base import Splits, as_split, check_split, joined
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loader_split import LoaderSplit
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.labels import check_targets
from mpsearch.tasks.task import Task


class Squares(Dataset[tuple[float, float]]):
    def __init__(self, count: int = 6) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[float, float]:
        return float(index), float(index**2)


def targets(split: Split) -> list[float]:
    return [y for _, batch in split.batches(4) for y in batch.tolist()]


def test_as_split_takes_what_users_bring() -> None:
    tensors = TensorDataset(torch.rand(5, 2), torch.arange(5))
    assert isinstance(as_split(tensors), TensorSplit)
    assert isinstance(as_split(Squares()), DatasetSplit)
    assert isinstance(as_split(DataLoader(tensors)), LoaderSplit)
    own = as_split(tensors)
    assert as_split(own) is own


@pytest.mark.parametrize("odd", [None, 3, "digits", (torch.zeros(2), torch.zeros(2)), [1, 2]])
def test_as_split_of_something_odd(odd: object) -> None:
    with pytest.raises(DataError, match=r"data must be a Dataset or a DataLoader of \(input, target\), not \w+; wrap tensors as"):
        as_split(odd)


def test_as_split_of_items_that_are_no_pairs() -> None:
    with pytest.raises(DataError, match=r"this one gives a tuple of 1; wrap it"):
        as_split(TensorDataset(torch.zeros(3)))

    class Dicts(Squares):
        def __getitem__(self, index: int) -> dict[str, int]:  # type: ignore[override]
            return {"x": 1, "y": 2}

    with pytest.raises(DataError, match="this one gives a dict of 2; wrap it"):
        as_split(Dicts())


def test_as_split_of_nothing() -> None:
    with pytest.raises(DataError, match="Squares holds no samples"):
        as_split(Squares(0))


def test_joined_is_one_after_the_other_whatever_the_kinds() -> None:
    x, y = torch.arange(8.0), torch.arange(8.0) ** 2
    shared = TensorSplit(x, y)
    first, second = shared.with_rows(torch.tensor([0, 1, 2])), shared.with_rows(torch.tensor([6, 7]))
    both = joined(first, second)
    assert both.indices == (0, 1, 2, 6, 7)
    apart = joined(first, TensorSplit(x[6:], y[6:]))
    loader = LoaderSplit(DataLoader(TensorDataset(x[6:], y[6:]), batch_size=1))
    same_dataset = DatasetSplit(Squares(8))
    for split in (
        both,
        apart,
        joined(first, loader),
        joined(DatasetSplit(Squares(3)), loader),
        joined(same_dataset.with_rows(torch.arange(3)), same_dataset.with_rows(torch.tensor([6, 7]))),
        joined(DatasetSplit(Squares(3)), second),
    ):
        assert targets(split) == [0, 1, 4, 36, 49]


def test_train_and_validation_train_as_training_does() -> None:
    shared = TensorSplit(torch.zeros(6), torch.arange(6), augment=lambda x, generator: x + 1)
    splits = Splits(
        name="six",
        train=shared.with_rows(torch.arange(4)),
        validation=shared.with_rows(torch.arange(4, 6)),
        task=Task.classification(),
        fingerprint="0",
    )
    together = splits.train_and_validation()
    assert len(together) == 6
    assert all((x == 1).all() for x, _ in together.batches(4, augment=True))


def test_check_split_looks_at_labels_of_any_kind_of_split() -> None:
    data = TensorDataset(torch.zeros(900), torch.arange(900) // 300)
    for split in (as_split(data), as_split(DataLoader(data, batch_size=100, shuffle=True))):
        check_split(split, lambda targets: check_targets(targets, 3))
        with pytest.raises(DataError, match="label 2"):
            check_split(split, lambda targets: check_targets(targets, 2))
