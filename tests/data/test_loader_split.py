from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, SubsetRandomSampler, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.loader_split import LoaderSplit

DATA = TensorDataset(torch.arange(20.0), torch.arange(20))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([({"a": torch.tensor(float(i))}, i) for i in range(11)])


def targets(split: Any, **options: Any) -> list[list[int]]:
    return [y.tolist() for _, y in split.batches(3, **options)]


def test_the_loader_keeps_its_own_batches_and_the_seed_its_order() -> None:
    split = LoaderSplit(DataLoader(DATA, batch_size=8, shuffle=True))
    assert len(split) == 20
    assert split.steps(3) == 3 == len(targets(split))
    assert [len(batch) for batch in targets(split)] == [8, 8, 4]
    assert targets(split, seed=1) == targets(split, seed=1) != targets(split, seed=2)


def test_a_loader_with_a_generator_follows_the_seed_too() -> None:
    split = LoaderSplit(DataLoader(DATA, batch_size=8, shuffle=True, generator=torch.Generator()))
    assert targets(split, seed=1) == targets(split, seed=1) != targets(split, seed=2)


def test_outer_random_state_stays() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    targets(LoaderSplit(DataLoader(DATA, batch_size=8, shuffle=True)))
    assert torch.equal(before, torch.get_rng_state())


def test_length_is_what_a_pass_gives() -> None:
    assert len(LoaderSplit(DataLoader(DATA, batch_size=8, drop_last=True))) == 16
    assert len(LoaderSplit(DataLoader(DATA, batch_size=8, sampler=SubsetRandomSampler(range(5, 12))))) == 7


def test_take_stays_within_what_the_sampler_draws() -> None:
    split = LoaderSplit(DataLoader(DATA, batch_size=8, sampler=SubsetRandomSampler(range(5, 12))))
    taken = split.take(4, seed=1)
    assert len(taken) == 4
    assert taken.indices is not None
    assert set(taken.indices) < set(range(5, 12))
    assert taken.indices == split.take(4, seed=1).indices


def test_errors() -> None:
    triples = TensorDataset(torch.zeros(4), torch.zeros(4), torch.zeros(4))
    with pytest.raises(DataError, match=r"must give \(input, target\), this one gives a list of 3"):
        targets(LoaderSplit(DataLoader(triples, batch_size=2)))
    for loader in (DataLoader(Stream()), DataLoader(DATA, batch_size=None)):
        with pytest.raises(DataError, match=r"have no indices; give it as mpsearch\.Stream"):
            LoaderSplit(loader)
    with pytest.raises(DataError, match="at least 1 sample, 0 were asked for"):
        LoaderSplit(DataLoader(DATA)).take(0, 0)


class Endless(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return itertools.cycle(range(20))


class Unsized(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(7))


def test_a_sampler_without_a_length_must_end(monkeypatch: pytest.MonkeyPatch) -> None:
    split = LoaderSplit(DataLoader(DATA, batch_size=2, sampler=Unsized()))
    assert (len(split), split.steps(0)) == (7, 4)
    monkeypatch.setattr("mpsearch.data.bounded._MOST_SAMPLES", 1000)
    with pytest.raises(DataError, match=r"did not end within 1,00[0-9] samples .*mpsearch.Stream\(loader, samples="):
        len(LoaderSplit(DataLoader(DATA, batch_size=8, sampler=Endless())))
