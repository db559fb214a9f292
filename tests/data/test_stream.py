from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.base import as_split, joined
from mpsearch.data.fingerprint import fingerprint_of
from mpsearch.data.split import Split
from mpsearch.data.stream import Stream


class Numbers(IterableDataset[Any]):
    """Counts to 11, or for ever; `read` is how far any pass came."""

    def __init__(self, *, endless: bool = False, noisy: bool = False) -> None:
        self.endless, self.noisy, self.read = endless, noisy, 0

    def __iter__(self) -> Iterator[Any]:
        for i in itertools.count() if self.endless else range(11):
            self.read = max(self.read, i + 1)
            yield {"a": torch.tensor(float(i)) + (torch.rand(()) if self.noisy else 0)}, i


class Batches:
    """No DataLoader, as webdataset's loaders are none."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.zeros(3, 2), torch.arange(3)), (torch.zeros(2, 2), torch.arange(2))])


def targets(split: Split, **options: Any) -> list[list[int]]:
    return [y.tolist() for _, y in split.batches(3, **options)]


def test_a_loader_of_an_iterable_data_set_is_a_stream_that_is_counted_once() -> None:
    stream = as_split(DataLoader(Numbers(), batch_size=4))
    assert isinstance(stream, Stream)
    assert (len(stream), stream.steps(99), stream.indices) == (11, 3, None)
    assert [len(batch) for batch in targets(stream)] == [4, 4, 3]
    assert isinstance(as_split(DataLoader(TensorDataset(torch.zeros(4, 2), torch.zeros(4)), batch_size=None)), Stream)


def test_without_an_end_a_pass_is_what_was_said() -> None:
    data = Numbers(endless=True)
    stream = as_split(Stream(DataLoader(data, batch_size=4), samples=10))
    assert (len(stream), stream.steps(0)) == (10, 3)
    assert targets(stream) == targets(stream) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [x["a"].tolist() for x, _ in stream.batches(0)][-1] == [8.0, 9.0]
    assert data.read == 12, "no further batch is made"
    assert fingerprint_of(stream) != fingerprint_of(Stream(DataLoader(data, batch_size=4), samples=9))


def test_a_seed_gives_the_same_pass() -> None:
    stream = Stream(DataLoader(Numbers(noisy=True), batch_size=4))
    first, same, other = (torch.cat([x["a"] for x, _ in stream.batches(0, seed=seed)]) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_take_keeps_the_first_in_memory() -> None:
    taken = Stream(DataLoader(Numbers(endless=True), batch_size=4), samples=10).take(6, seed=1)
    batches = list(taken.batches(5))
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3, 4], [5]]
    assert batches[0][0]["a"].tolist() == [0, 1, 2, 3, 4]


def test_anything_that_begins_anew() -> None:
    assert targets(Stream(Batches())) == [[0, 1, 2], [0, 1]]
    assert len(Stream(Batches(), samples=4)) == 4
    assert len(Stream([(torch.zeros(3, 2), torch.arange(3))])) == 3


def test_no_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpsearch.data.bounded._MOST_SAMPLES", 50)
    with pytest.raises(DataError, match=r"did not end within 52 samples .* mpsearch.Stream\(loader, samples=10_000\)"):
        len(as_split(DataLoader(Numbers(endless=True), batch_size=4)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: len(Stream(DataLoader(Numbers(), batch_size=4), samples=12)),
            "ends after 11 samples, where 12 were promised; say samples=11",
        ),
        (lambda: len(Stream([])), "the stream gives no samples"),
        (lambda: Stream(iter(Batches())), "a list_iterator can be read only once"),
        (lambda: Stream(3), "a int can be read only once"),  # type: ignore[arg-type]
        (lambda: Stream(Numbers()), r"needs batches; give it torch.utils.data.DataLoader\(dataset, batch_size=…\)"),
        (lambda: Stream(Batches(), samples=0), "a count of at least 1, not 0"),
        (lambda: Stream(Batches(), samples=2.5), "not 2.5"),  # type: ignore[arg-type]
        (lambda: Stream(Batches()).take(0, 0), "at least 1 sample, 0 were asked for"),
        (lambda: targets(Stream([torch.zeros(3)])), r"must give \(input, target\)"),
        (lambda: joined(Stream(Batches()), Stream(Batches())), "a Stream cannot be joined with another split"),
        (lambda: as_split(Numbers()), r"must come in batches; give torch.utils.data.DataLoader\(Numbers\(…\), batch_size=…\)"),
    ],
)
def test_errors(make: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make()
