from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.loading import load_batches
from mpsearch.data.random_stream import reseed

DATA = TensorDataset(torch.arange(12.0), torch.arange(12))


class Noise(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.rand(2), index


class Broken(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(2), 0
        raise DataError("the second item is gone; bring it back")


def passed(loader: DataLoader[Any], seed: int) -> torch.Tensor:
    return torch.cat([x for x, _ in load_batches(loader, seed)])


def test_a_pass_is_the_loaders_own() -> None:
    batches = list(load_batches(DataLoader(DATA, batch_size=5), 0))
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


@pytest.mark.parametrize("loader", [DataLoader(DATA, batch_size=5, shuffle=True), DataLoader(Noise(), batch_size=2)])
def test_the_seed_decides_and_the_callers_draws_do_not(loader: DataLoader[Any]) -> None:
    first = passed(loader, 1)
    torch.manual_seed(99)
    assert torch.equal(first, passed(loader, 1))
    assert not torch.equal(first, passed(loader, 2))


def test_draws_between_batches_change_neither_side() -> None:
    wanted = passed(DataLoader(Noise(), batch_size=1), 1)
    reseed(3)
    outer = torch.rand(4)
    reseed(3)
    inner, between = [], []
    for x, _ in load_batches(DataLoader(Noise(), batch_size=1), 1):
        inner.append(x)
        between.append(torch.rand(1))
    assert torch.equal(torch.cat(inner), wanted)
    assert torch.equal(torch.cat(between), outer)


def test_targets_that_are_no_tensor() -> None:
    loader: DataLoader[Any] = DataLoader([(1.0, "cat"), (2.0, "dog")], batch_size=2)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="targets must come out of the loader as a tensor, not tuple; let each target be"):
        list(load_batches(loader, 0))


def test_batches_that_are_no_pairs() -> None:
    with pytest.raises(DataError, match=r"must give \(input, target\), this one gives a list of 3"):
        list(load_batches(DataLoader(TensorDataset(*[torch.zeros(3)] * 3)), 0))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_from_a_worker_is_one_line_too(workers: int) -> None:
    batches = load_batches(DataLoader(Broken(), batch_size=1, num_workers=workers), 0)
    next(batches)
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == "the second item is gone; bring it back"


def test_data_do_not_carry_the_graph_that_made_them() -> None:
    """As coordinates do whose gradients are forces; a second backward pass through them would fail."""
    x = torch.rand(4, 2, requires_grad=True) * 2
    pairs = [((x[row], {"mask": torch.ones(2)}), x[row].sum()) for row in range(4)]
    for inputs, targets in load_batches(DataLoader(pairs, batch_size=2), 0):  # type: ignore[arg-type]
        assert not inputs[0].requires_grad
        assert not targets.requires_grad
        assert inputs[1]["mask"].tolist() == [[1, 1], [1, 1]]
