"""Who shares samples with whom: by place in the same source, else by content."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from mpsearch.card import audit
from mpsearch.card.audit import Overlap, overlap
from mpsearch.card.schema import Card
from mpsearch.data.base import as_split
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loader_split import LoaderSplit
from mpsearch.data.tensor_split import TensorSplit
from tests.card.runs import EPOCHS, IMAGES, TEST, TRAIN, VALIDATION, card_of, searched

X = torch.randn(40, 3)
Y = torch.arange(40) % 3


class Items(Dataset):  # type: ignore[type-arg]
    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        return {"a": self.x[index], "b": torch.ones(2)}, int(index % 3)


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from zip(X, Y, strict=True)


def test_rows_of_one_tensor_by_index() -> None:
    one, other = TensorSplit(X, Y, rows=range(20)), TensorSplit(X, Y, rows=range(20, 40))
    assert overlap(one, other) == Overlap(0, "by index")
    assert overlap(one, TensorSplit(X, Y, rows=range(18, 40))) == Overlap(2, "by index")
    # equal content at another place is another sample
    twice = torch.cat([X, X])
    halves = (TensorSplit(twice, Y.repeat(2), rows=range(start, start + 40)) for start in (0, 40))
    assert overlap(*halves) == Overlap(0, "by index")


def test_rows_of_one_dataset_by_index_through_subsets_and_loaders() -> None:
    whole = Items(X)
    train = as_split(Subset(Subset(whole, range(10, 40)), range(10)))  # items 10 … 19
    assert overlap(train, as_split(Subset(whole, range(10)))) == Overlap(0, "by index")
    assert overlap(train, as_split(DataLoader(Subset(whole, [3, 12, 19, 20]), batch_size=2))) == Overlap(2, "by index")


def test_other_sources_by_content() -> None:
    copies = TensorSplit(X[15:].clone(), Y[15:].clone())
    assert overlap(TensorSplit(X[:20], Y[:20]), copies) == Overlap(5, "by content")
    assert overlap(TensorSplit(X[:20], Y[:20] + 1), copies) == Overlap(0, "by content")
    loader = LoaderSplit(DataLoader(TensorDataset(X[18:], Y[18:]), batch_size=4))
    assert overlap(TensorSplit(X[:20], Y[:20]), loader) == Overlap(2, "by content")
    assert overlap(as_split(DataLoader(Stream(), batch_size=8)), TensorSplit(X[30:], Y[30:])) == Overlap(10, "by content")
    assert overlap(DatasetSplit(Items(X)), DatasetSplit(Items(X[:5].clone()))) == Overlap(5, "by content")


def test_too_much_to_load_is_not_known(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(audit, "_MOST_READ", 30)
    found = overlap(DatasetSplit(Items(X)), DatasetSplit(Items(X.clone())))
    assert found.shared is None
    assert "30 samples" in found.how


def test_formats_that_numpy_lacks() -> None:
    half = X.to(torch.bfloat16)
    assert overlap(TensorSplit(half[:20], Y[:20] > 0), TensorSplit(half[15:].clone(), Y[15:] > 0)).shared == 5


def test_images_and_labels_of_a_run(card: Card) -> None:
    assert {use: (entry["images"], entry["labels"]) for use, entry in card.data.use.items()} == {
        "calibration": (IMAGES, False),
        "search": (96, False),
        "fine-tune": (TRAIN, True),
        "selection": (VALIDATION, True),
        "test": (TEST, True),
    }
    assert card.data.overlap_with_test == 0
    assert card.data.use["fine-tune"]["labels_read"] == EPOCHS * TRAIN


def test_a_test_sample_in_training_fails_the_card(tmp_path: Path) -> None:
    result = searched(tmp_path, seen=3, trials=1, epochs=0)
    card = card_of(result)
    assert card.data.use["search"]["overlap_with_test"] == card.data.overlap_with_test == 3
    assert "search: 3 samples of the test split (by content)" in card.provenance.failed_checks
    assert not any(check.startswith("selection") for check in card.provenance.failed_checks)
    assert "`FAILED: Sequential" in (result.run_dir / "card.md").read_text()
