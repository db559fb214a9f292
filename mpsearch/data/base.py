"""`Splits`: the train, validation and test split of a data set; `as_split` wraps what users pass in, `joined` concatenates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loader_split import LoaderSplit, has_indices
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import Split, pair
from mpsearch.data.stream import Stream
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task

__all__ = [
    "DatasetSplit",
    "LoaderSplit",
    "Split",
    "Splits",
    "Stream",
    "TensorSplit",
    "as_split",
    "check_split",
    "joined",
]

_CHECKED = 512


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set, split in three.

    Args:
        name: the reference it was loaded by.
        train: for calibration, signals and training.
        validation: for scoring trials.
        test: for the final figures, read once; `None` if there is none.
        classes: class names by index; empty if unknown.
        task: loss and metric.
        fingerprint: hexadecimal digits that identify samples, split and transforms; equal for equal content.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None = None
    classes: tuple[str, ...] = ()
    task: Task
    fingerprint: str

    def train_and_validation(self) -> Split:
        """Both as one split, augmented like the training split; for retraining, when nothing is selected any more."""
        return joined(self.train, self.validation)


def as_split(source: object) -> Split:
    """Wrap a source of (input, target) pairs as a split.

    Args:
        source: `Split` (such as a `Stream`), `DataLoader`, or `Dataset` with a length.

    Raises:
        DataError: it is something else, is empty, or its items are not (input, target).
    """
    if isinstance(source, DataLoader):
        return LoaderSplit(source) if has_indices(source) else Stream(source)
    if isinstance(source, TensorDataset):
        return TensorSplit(*pair(source.tensors))
    if isinstance(source, Dataset) and not isinstance(source, IterableDataset):
        split = DatasetSplit(source)
        with RandomStream(0).active():
            pair(source[0])
        return split
    if isinstance(source, Split):
        return source
    if isinstance(source, IterableDataset):
        raise DataError(
            f"data must come in batches; give torch.utils.data.DataLoader({type(source).__name__}(…), batch_size=…), "
            "in an mpsearch.Stream(loader, samples=…) if it has no end"
        )
    raise DataError(
        f"data must be a Dataset or a DataLoader of (input, target), not {type(source).__name__}; "
        "wrap tensors as torch.utils.data.TensorDataset(inputs, targets)"
    )


def joined(first: Split, second: Split) -> Split:
    """Concatenate two splits; the transforms are those of `first`.

    Raises:
        DataError: the items of one cannot be indexed.
    """
    if isinstance(first, TensorSplit) and isinstance(second, TensorSplit):
        if first.x is second.x and first.y is second.y:
            return first.with_rows(torch.cat([first.rows, second.rows]))
        x, y = (torch.cat([getattr(split, part)[split.rows] for split in (first, second)]) for part in ("x", "y"))
        return TensorSplit(x, y, augment=first.augment, transform=first.transform)
    one, two = _as_dataset_split(first), _as_dataset_split(second)
    if one.dataset is two.dataset:
        return one.with_rows(torch.cat([one.rows, two.rows]))
    rows = torch.cat([one.rows, two.rows + len(one.dataset)])  # type: ignore[arg-type]
    both: Dataset[Any] = ConcatDataset([one.dataset, two.dataset])
    augmented: Dataset[Any] = ConcatDataset([one.augmented, two.augmented])
    return DatasetSplit(both, rows=rows, augmented=augmented, workers=max(one.workers, two.workers), collate=one.collate)


def check_split(split: Split, check: Callable[[Tensor], object]) -> None:
    """Check the targets of a split; of splits that are not in memory, only the first few hundred are read.

    Args:
        split: the split.
        check: gets targets `[N, …]` and raises what they do not hold.
    """
    if isinstance(split, TensorSplit):
        check(split.y[split.rows])
        return
    seen = 0
    for _, targets in split.batches(min(64, len(split))):
        check(targets)
        seen += len(targets)
        if seen >= _CHECKED:
            return


def _as_dataset_split(split: Split) -> DatasetSplit:
    if isinstance(split, DatasetSplit):
        return split
    if isinstance(split, LoaderSplit):
        return split.as_dataset()
    if isinstance(split, TensorSplit):
        return DatasetSplit(_TransformedItems(split))
    raise DataError(f"a {type(split).__name__} cannot be joined with another split; pass a Dataset with __getitem__ and __len__")


class _TransformedItems(Dataset[Any]):
    """The samples of a `TensorSplit`, transformed one by one."""

    def __init__(self, split: TensorSplit) -> None:
        self._split = split

    def __getitem__(self, index: int) -> Any:
        x, y = next(self._split.with_rows(self._split.rows[index : index + 1]).batches(1))
        return x[0], y[0]

    def __len__(self) -> int:
        return len(self._split)
