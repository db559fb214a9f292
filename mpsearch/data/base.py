"""`Splits`: train, validation and test of one data set; `as_split` and `joined` make splits of what users bring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, TensorDataset

from mpsearch.core.errors import DataError
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loader_split import LoaderSplit
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import Split, check_targets, pair
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task

__all__ = [
    "DatasetSplit",
    "LoaderSplit",
    "Split",
    "Splits",
    "TensorSplit",
    "as_split",
    "check_split",
    "content_digest",
    "fingerprint_of",
    "joined",
]

_LOOKED_AT = 512


@dataclass(frozen=True, kw_only=True)
class Splits:
    """One data set, cut.

    Args:
        name: as it was asked for.
        train: for calibration, signals and training.
        validation: for scoring trials.
        test: read once, at the end; `None` if there is none.
        classes: names by index; empty where they are unknown.
        task: loss and metric.
        fingerprint: hexadecimal digits that name data, cut and treatment; equal for equal content.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None = None
    classes: tuple[str, ...] = ()
    task: Task
    fingerprint: str

    def train_and_validation(self) -> Split:
        """Both as one split, augmented as training is; for when nothing is chosen any more."""
        return joined(self.train, self.validation)


def as_split(source: object) -> Split:
    """A split of whatever holds (input, target) pairs.

    Args:
        source: `Split`, `DataLoader`, or `Dataset` with a length.

    Raises:
        DataError: something else, an empty dataset, or items that are not (input, target).
    """
    if isinstance(source, DataLoader):
        return LoaderSplit(source)
    if isinstance(source, TensorDataset):
        return TensorSplit(*pair(source.tensors))
    if isinstance(source, Dataset) and not isinstance(source, IterableDataset):
        split = DatasetSplit(source)
        with RandomStream(0).active():
            pair(source[0])
        return split
    if isinstance(source, Split):
        return source
    raise DataError(
        f"data must be a Dataset or a DataLoader of (input, target), not {type(source).__name__}; "
        "wrap tensors as torch.utils.data.TensorDataset(inputs, targets)"
    )


def joined(first: Split, second: Split) -> Split:
    """Both one after the other, each sample treated as `first` treats its own.

    Raises:
        DataError: a loader whose items cannot be reached one by one.
    """
    if isinstance(first, TensorSplit) and isinstance(second, TensorSplit):
        if first.x is second.x and first.y is second.y:
            return first.with_rows(torch.cat([first.rows, second.rows]))
        x, y = (torch.cat([getattr(split, part)[split.rows] for split in (first, second)]) for part in ("x", "y"))
        return TensorSplit(x, y, augment=first.augment, transform=first.transform)
    one, two = _by_item(first), _by_item(second)
    if one.dataset is two.dataset:
        return one.with_rows(torch.cat([one.rows, two.rows]))
    rows = torch.cat([one.rows, two.rows + len(one.dataset)])  # type: ignore[arg-type]
    both: Dataset[Any] = ConcatDataset([one.dataset, two.dataset])
    augmented: Dataset[Any] = ConcatDataset([one.augmented, two.augmented])
    return DatasetSplit(both, rows=rows, augmented=augmented, workers=max(one.workers, two.workers), collate=one.collate)


def check_split(split: Split, classes: int) -> None:
    """Refuse class labels the model has no output for: all of them where they are in memory, else the first few hundred.

    Raises:
        DataError: labels that are no whole numbers, or one outside [0, classes).
    """
    if isinstance(split, TensorSplit):
        check_targets(split.y[split.rows], classes)
        return
    seen = 0
    for _, targets in split.batches(min(64, len(split))):
        check_targets(targets, classes)
        seen += len(targets)
        if seen >= _LOOKED_AT:
            return


def fingerprint_of(split: Split) -> str:
    """Sixteen hexadecimal digits for data at hand: number of samples, positions, and the first few unaugmented samples."""
    count = len(split)
    parts: list[object] = [count, split.indices]
    for inputs, targets in split.take(min(count, 64), 0).batches(64):
        parts += [*_tensors(inputs), targets]
    return content_digest(parts)


def content_digest(parts: Iterable[object]) -> str:
    """Sixteen hexadecimal digits of the content; tensors count by their bytes, everything else by its `repr`."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            total.update(f"{part.dtype}{tuple(part.shape)}".encode() + part.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            total.update(repr(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    values = inputs.values() if isinstance(inputs, dict) else inputs
    return [tensor for value in values for tensor in _tensors(value)]


def _by_item(split: Split) -> DatasetSplit:
    if isinstance(split, DatasetSplit):
        return split
    if isinstance(split, LoaderSplit):
        return split.as_dataset()
    if isinstance(split, TensorSplit):
        return DatasetSplit(_Treated(split))
    raise DataError(f"a {type(split).__name__} cannot be joined with another split; pass Datasets or DataLoaders")


class _Treated(Dataset[Any]):
    """Items of a `TensorSplit`, transformed as its batches are."""

    def __init__(self, split: TensorSplit) -> None:
        self._split = split

    def __getitem__(self, index: int) -> Any:
        x, y = next(self._split.with_rows(self._split.rows[index : index + 1]).batches(1))
        return x[0], y[0]

    def __len__(self) -> int:
        return len(self._split)
