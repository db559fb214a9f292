"""`LoaderSplit`: a user's `DataLoader` with its own batch size, sampler, workers and augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from operator import itemgetter
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mpsearch.core.errors import DataError
from mpsearch.core.nested import mapped
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loading import load_batches
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import InputsAndTargets, Split, require_some, sample_rows

__all__ = ["LoaderSplit"]


class LoaderSplit:
    """A loader that can be iterated again. It has its own `batch_size`, `shuffle`, `augment` and `drop_last`; those asked for are ignored.

    The seed is used: the loader's sampler and transforms draw from a random state seeded by it.

    Args:
        loader: yields (inputs, targets); a pass must end.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    @property
    def indices(self) -> None:
        """Unknown, since the loader's sampler decides."""

    @cached_property
    def _rows(self) -> tuple[int, ...] | None:
        """Indices that the sampler draws in a pass; `None` if unknown (an iterable dataset, or batches made by the dataset)."""
        sampler = self.loader.batch_sampler
        if sampler is None or isinstance(self.loader.dataset, IterableDataset):
            return None
        with RandomStream(0).active():
            return tuple(index for batch in sampler for index in batch)

    @cached_property
    def _batch_lengths(self) -> tuple[int, ...]:
        return tuple(len(targets) for _, targets in self.batches(0))

    def __len__(self) -> int:
        """Samples in one pass; a loader that does not know is read once and counted."""
        return sum(self._batch_lengths) if self._rows is None else len(self._rows)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches of the loader, whatever size is asked for."""
        return len(self._batch_lengths) if self._rows is None else len(self.loader)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass; only `seed` is used.

        Raises:
            DataError: a batch is not (inputs, targets).
        """
        if self.loader.generator is not None:
            self.loader.generator.manual_seed(seed)
        return load_batches(self.loader, seed)

    def take(self, n: int, seed: int) -> Split:
        """A fixed random subset; of a loader whose indices are unknown, the first `n` samples, kept in memory."""
        if self._rows is None:
            return self._first(n)
        population = torch.tensor(sorted(set(self._rows)))
        return self.as_dataset().with_rows(population[sample_rows(len(population), n, seed)])

    def as_dataset(self) -> DatasetSplit:
        """The items that the loader draws, each once, without its sampler.

        Raises:
            DataError: the loader's indices are unknown.
        """
        if self._rows is None:
            raise DataError(
                "a DataLoader over an iterable data set cannot be joined with another; pass a Dataset with __getitem__ and __len__"
            )
        return DatasetSplit(
            self.loader.dataset, rows=sorted(set(self._rows)), workers=self.loader.num_workers, collate=self.loader.collate_fn
        )

    def _first(self, n: int) -> Split:
        require_some(n)
        kept: list[Any] = []
        for inputs, targets in self.batches(0):
            kept += [(mapped(inputs, itemgetter(row)), targets[row]) for row in range(min(len(targets), n - len(kept)))]
            if len(kept) == n:
                break
        return DatasetSplit(_Kept(kept))


class _Kept(Dataset[Any]):
    """Loaded samples."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __getitem__(self, index: int) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)
