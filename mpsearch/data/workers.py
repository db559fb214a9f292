"""`Workers`: loading processes that stay from one pass to the next, and what they load ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from mpsearch.data.loading import load_batches
from mpsearch.data.random_stream import reseed
from mpsearch.data.split import InputsAndTargets, pair

__all__ = ["Workers"]

_Key = tuple[int, bool, int]
"""(seed, augmented, index) of an item."""


class Workers:
    """Loads batches of items of a data set; all splits of one data set share it.

    Batches do not depend on the number of processes. They start at the first pass and stay; a pass that begins while another one goes on
    has processes of its own. With CUDA, batches come in page-locked memory, from which they are copied while the device computes.

    Args:
        dataset: `dataset[i]` is (input, target).
        augmented: the same items with training's augmentation.
        collate: list of items → batch.
        count: processes; 0 loads in this one.
    """

    def __init__(self, dataset: Dataset[Any], augmented: Dataset[Any], collate: Callable[[list[Any]], Any], count: int) -> None:
        self._items, self._collate, self._count = _Seeded(dataset, augmented), collate, count
        self._order = _Order()
        self._kept: DataLoader[Any] | None = None
        self._busy = False

    def batches(self, rows: Sequence[int], size: int, *, seed: int, augment: bool, drop_last: bool) -> Iterator[InputsAndTargets]:
        """One pass over items in an order.

        Raises:
            DataError: an item cannot be loaded, or is not (input, target).
        """
        keys = [(seed, augment, row) for row in rows]
        batches = [keys[start : start + size] for start in range(0, len(keys), size)]
        if drop_last and batches and len(batches[-1]) < size:
            batches.pop()
        if not self._count or self._busy:
            yield from load_batches(self._loader(_Order(batches), kept=False), seed)
            return
        self._busy = True
        try:
            if self._kept is None:
                self._kept = self._loader(self._order, kept=True)
            self._order.batches = batches
            yield from load_batches(self._kept, seed)
        finally:
            self._busy = False

    def _loader(self, order: _Order, *, kept: bool) -> DataLoader[Any]:
        return DataLoader(
            self._items,
            batch_sampler=order,
            num_workers=self._count,
            collate_fn=self._collate,
            persistent_workers=kept,
            pin_memory=self._count > 0 and torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(0),  # draws nothing from the caller's random state
        )


class _Order:
    """The batches of a pass, which a loader asks for at its beginning."""

    def __init__(self, batches: list[list[_Key]] | None = None) -> None:
        self.batches = batches or []

    def __iter__(self) -> Iterator[list[_Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Seeded(Dataset[Any]):
    """Seeds before each item, so that random transforms depend neither on the number of workers nor on other draws."""

    def __init__(self, dataset: Dataset[Any], augmented: Dataset[Any]) -> None:
        self._dataset, self._augmented = dataset, augmented

    def __getitem__(self, key: _Key) -> Any:
        seed, augmented, index = key
        reseed(seed * 1_000_003 + index)
        item = (self._augmented if augmented else self._dataset)[index]
        pair(item)
        return item
