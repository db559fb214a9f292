"""`Stream`: batches in the order in which they come, of samples without an index, with or without an end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import itemgetter
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mpsearch.core.errors import DataError
from mpsearch.core.nested import mapped
from mpsearch.data.bounded import Bound
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loading import load_batches
from mpsearch.data.split import InputsAndTargets, Split, require_some

__all__ = ["Stream"]


class Stream:
    """The first samples of a source of batches, each pass begun anew. It has its own batch size and order; those asked for are ignored.

    The seed is used: whatever the source draws while it is read comes from a random state seeded by it.

    Args:
        loader: a `DataLoader`, or anything else whose `__iter__` begins a pass of batches (inputs, targets).
        samples: how many make a pass; what the source gives beyond is not read. If not given, a pass is all of the source, which must end:
            within a million samples and 25 seconds, in which it is counted once.

    Raises:
        DataError: `samples` is no count, or the loader can be read only once, or gives single samples instead of batches.
    """

    def __init__(self, loader: Iterable[Any], samples: int | None = None) -> None:
        if isinstance(loader, IterableDataset):
            raise DataError("a Stream needs batches; give it torch.utils.data.DataLoader(dataset, batch_size=…)")
        if not hasattr(loader, "__iter__") or iter(loader) is loader:
            raise DataError(
                f"a {type(loader).__name__} can be read only once, and a study reads its data many times; "
                "give a DataLoader, or an object whose __iter__ begins anew"
            )
        if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
            raise DataError(f"a stream's samples must be a count of at least 1, not {samples!r}; say how many make a pass")
        self.loader = loader
        self._wanted = samples

    @property
    def indices(self) -> None:
        """Unknown: the samples have none."""

    @cached_property
    def _batch_lengths(self) -> tuple[int, ...]:
        """Samples in each batch of a pass, read once.

        Raises:
            DataError: there are none, or fewer than asked for, or no end is in sight.
        """
        lengths: list[int] = []
        bound, total = Bound(), 0
        for _, targets in self.batches(0):
            lengths.append(len(targets))
            total += len(targets)
            if self._wanted is None:
                bound.check(total)
        if not total:
            raise DataError("the stream gives no samples; give a loader that yields batches (inputs, targets) each time it is read")
        if self._wanted is not None and total < self._wanted:
            raise DataError(f"the stream ends after {total:,} samples, where {self._wanted:,} were promised; say samples={total}")
        return tuple(lengths)

    def __len__(self) -> int:
        """Samples in one pass."""
        return sum(self._batch_lengths)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches of a pass, whatever size is asked for."""
        return len(self._batch_lengths)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass; only `seed` is used.

        Raises:
            DataError: a batch is not (inputs, targets).
        """
        if isinstance(self.loader, DataLoader) and self.loader.generator is not None:
            self.loader.generator.manual_seed(seed)
        left = self._wanted
        for inputs, targets in load_batches(self.loader, seed):
            if left is None:
                yield inputs, targets
                continue
            yield _first(inputs, targets, left)
            left -= len(targets)
            if left <= 0:  # before the next batch is made
                return

    def take(self, n: int, seed: int) -> Split:
        """The first `n` samples, kept in memory."""
        require_some(n)
        kept: list[Any] = []
        for inputs, targets in self.batches(0):
            kept += [(mapped(inputs, itemgetter(row)), targets[row]) for row in range(min(len(targets), n - len(kept)))]
            if len(kept) == n:
                break
        return DatasetSplit(_Kept(kept))


def _first(inputs: Any, targets: Tensor, n: int) -> InputsAndTargets:
    samples = len(targets)
    if samples <= n:
        return inputs, targets
    cut = mapped(inputs, lambda value: value[:n] if isinstance(value, Tensor) and value.dim() and len(value) == samples else value)
    return cut, targets[:n]


class _Kept(Dataset[Any]):
    """Loaded samples."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __getitem__(self, index: int) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)
