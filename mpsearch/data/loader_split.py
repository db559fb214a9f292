"""`LoaderSplit`: a user's `DataLoader` with its own batch size, sampler, workers and augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from mpsearch.core.errors import DataError
from mpsearch.data.bounded import Bound
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loading import load_batches
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import InputsAndTargets, Split, sample_rows

__all__ = ["LoaderSplit", "has_indices"]


def has_indices(loader: DataLoader[Any]) -> bool:
    """Whether a sampler draws indices of the data set; otherwise the data set makes its own order, or its own batches."""
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


class LoaderSplit:
    """A loader that can be iterated again. It has its own `batch_size`, `shuffle`, `augment` and `drop_last`; those asked for are ignored.

    The seed is used: the loader's sampler and transforms draw from a random state seeded by it.

    Args:
        loader: yields (inputs, targets); a pass must end.

    Raises:
        DataError: its samples have no indices; such a loader is a `Stream`.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        if not has_indices(loader):
            raise DataError("the samples of this DataLoader have no indices; give it as mpsearch.Stream(loader)")
        self.loader = loader

    @property
    def indices(self) -> None:
        """Unknown, since the loader's sampler decides."""

    @cached_property
    def _drawn(self) -> tuple[tuple[int, ...], ...]:
        """Indices that the sampler draws in a pass, batch by batch.

        Raises:
            DataError: the sampler has no length, and no end is in sight.
        """
        sampler: Any = self.loader.batch_sampler
        bound, samples = None if _has_length(sampler) else Bound(), 0
        drawn: list[tuple[int, ...]] = []
        with RandomStream(0).active():
            for batch in sampler:
                drawn.append(tuple(batch))
                samples += len(batch)
                if bound is not None:
                    bound.check(samples)
        return tuple(drawn)

    @property
    def _rows(self) -> list[int]:
        return [index for batch in self._drawn for index in batch]

    def __len__(self) -> int:
        """Samples in one pass."""
        return sum(map(len, self._drawn))

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches of the loader, whatever size is asked for."""
        return len(self.loader) if _has_length(self.loader) else len(self._drawn)

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
        """A fixed random subset."""
        population = torch.tensor(sorted(set(self._rows)))
        return self.as_dataset().with_rows(population[sample_rows(len(population), n, seed)])

    def as_dataset(self) -> DatasetSplit:
        """The items that the loader draws, each once, without its sampler."""
        return DatasetSplit(
            self.loader.dataset, rows=sorted(set(self._rows)), workers=self.loader.num_workers, collate=self.loader.collate_fn
        )


def _has_length(sized: Any) -> bool:
    try:
        return len(sized) >= 0
    except (TypeError, NotImplementedError):
        return False
