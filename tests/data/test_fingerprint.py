from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mpsearch.data.base import as_split
from mpsearch.data.fingerprint import content_digest, fingerprint_of
from mpsearch.data.tensor_split import TensorSplit

X, Y = torch.arange(240.0).reshape(80, 3), torch.arange(80)


def test_equal_content_has_equal_fingerprints() -> None:
    first = fingerprint_of(TensorSplit(X, Y))
    assert first == fingerprint_of(TensorSplit(X.clone(), Y.clone()))
    assert len(first) == 16
    assert int(first, 16) >= 0


@pytest.mark.parametrize(
    "other",
    [
        TensorSplit(X + 1, Y),
        TensorSplit(X, Y + 1),
        TensorSplit(X.bfloat16(), Y),
        TensorSplit(X[:79], Y[:79]),
        TensorSplit(X, Y, rows=torch.arange(79, -1, -1)),
    ],
    ids=["inputs", "targets", "dtype", "count", "order"],
)
def test_other_content_has_another_fingerprint(other: TensorSplit) -> None:
    assert fingerprint_of(other) != fingerprint_of(TensorSplit(X, Y))


def test_inputs_of_several_tensors_all_count() -> None:
    def loader(scale: float) -> DataLoader[object]:
        def collate(items: list[object]) -> object:
            x, y = torch.utils.data.default_collate(items)
            return {"first": x, "second": scale * x}, y

        return DataLoader(TensorDataset(X, Y), batch_size=8, collate_fn=collate)

    assert fingerprint_of(as_split(loader(1.0))) == fingerprint_of(as_split(loader(1.0)))
    assert fingerprint_of(as_split(loader(1.0))) != fingerprint_of(as_split(loader(2.0)))


def test_a_digest_tells_parts_apart() -> None:
    assert content_digest([torch.zeros(2), 1]) != content_digest([torch.zeros(2), 2])
    assert content_digest(["ab", "c"]) != content_digest(["a", "bc"])
    assert content_digest([torch.zeros(2)]) != content_digest([torch.zeros(2, 1)])
    assert content_digest([torch.arange(4)[::2]]) == content_digest([torch.tensor([0, 2])])
    assert content_digest([torch.zeros(1).expand(3)]) == content_digest([torch.zeros(3)])


def test_a_digest_is_the_same_in_every_process() -> None:
    """Run directories name data by it, so it must not depend on `PYTHONHASHSEED` or change between versions."""
    assert content_digest([1, "a", torch.tensor([1, 2])]) == "b84d2028ecbbd115"
