"""`DatasetSplit`: items of a map-style torch `Dataset`, batched by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from mpsearch.core.errors import DataError
from mpsearch.data.split import InputsAndTargets, RowSplit
from mpsearch.data.workers import Workers

__all__ = ["DatasetSplit"]


class DatasetSplit(RowSplit):
    """Some rows of a map-style dataset.

    Args:
        dataset: `dataset[i]` is (input, target).
        rows: indices of the items in this split; all if not given.
        augmented: the same items with training's augmentation; `dataset` if not given.
        workers: loading processes, which subsets share; batches do not depend on their number.
        collate: list of items → batch; torch's default if not given.

    Raises:
        DataError: there are no samples, or the dataset has no length.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        rows: Sequence[int] | Tensor | None = None,
        augmented: Dataset[Any] | None = None,
        workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if rows is None:
            if not hasattr(dataset, "__len__"):
                raise DataError(f"the data set {type(dataset).__name__} has no length; give it one (__len__), or pass a DataLoader over it")
            rows = range(len(dataset))
        super().__init__(f"the data set {type(dataset).__name__}", rows)
        self.dataset = dataset
        self.augmented = dataset if augmented is None else augmented
        self.workers = workers
        self.collate = collate
        self._loading = Workers(self.dataset, self.augmented, _Collated(collate), workers)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass; see `Split`.

        Raises:
            DataError: an item cannot be loaded, or is not (input, target).
        """
        generator = torch.Generator().manual_seed(seed)
        rows = self._in_order(shuffle, generator).tolist()
        return self._loading.batches(rows, batch_size, seed=seed, augment=augment, drop_last=drop_last)


class _Collated:
    """Makes a batch of items, or says in one line why there is none."""

    def __init__(self, collate: Callable[[list[Any]], Any] | None) -> None:
        self._collate = collate

    def __call__(self, items: list[Any]) -> Any:
        try:
            return (self._collate or default_collate)(items)
        except DataError:
            raise
        except Exception as error:  # the items and the function are the user's
            reason = " ".join(str(error).split())[:200]
            advice = (
                "correct the collate function"
                if self._collate
                else "give all samples one shape, or pass a DataLoader with a collate_fn of your own"
            )
            raise DataError(f"the samples do not make a batch ({type(error).__name__}: {reason}); {advice}") from error
