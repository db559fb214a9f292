"""`Split`: the interface of data that training, search and evaluation use, and checks that all splits share."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from mpsearch.core.errors import DataError

__all__ = ["InputsAndTargets", "RowSplit", "Split", "pair", "require_some", "sample_rows"]

InputsAndTargets = tuple[Any, Tensor]
"""One batch: inputs as the model takes them, and targets `[B, …]`."""


@runtime_checkable
class Split(Protocol):
    """Samples of (input, target) in batches; the seed determines order and augmentation."""

    @property
    def indices(self) -> tuple[int, ...] | None:
        """Index of each sample in the data set that was split; `None` if unknown."""

    def __len__(self) -> int:
        """Number of samples."""

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches that `batches` yields."""

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass of (inputs `[B, …]`, targets `[B, …]`); the same seed gives the same order and augmentation."""

    def take(self, n: int, seed: int) -> Split:
        """A fixed random subset of `n` samples, in random order; all of them if there are fewer."""


def pair(item: object) -> tuple[Any, Any]:
    """Unpack an item into (input, target).

    Raises:
        DataError: it is not a pair.
    """
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    what = f"a {type(item).__name__} of {len(item)}" if isinstance(item, tuple | list | dict) else f"a {type(item).__name__}"
    raise DataError(f"a data set must give (input, target), this one gives {what}; wrap it so that each item is such a pair")


def require_some(n: int) -> None:
    """Check that a subset of `n` samples is not empty.

    Raises:
        DataError: `n` is below 1.
    """
    if n < 1:
        raise DataError(f"a subset needs at least 1 sample, {n} were asked for; ask for more")


def sample_rows(samples: int, n: int, seed: int) -> Tensor:
    """`n` distinct rows out of `samples`, int64 `[min(n, samples)]`, in random order.

    Raises:
        DataError: `n` is below 1.
    """
    require_some(n)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:n]


class RowSplit:
    """Some rows of a source whose samples have an index.

    Args:
        source: the source, for messages.
        rows: indices of the samples in this split.

    Raises:
        DataError: there are no samples.
    """

    def __init__(self, source: str, rows: Sequence[int] | Tensor) -> None:
        self._source = source
        self.rows = torch.as_tensor(rows, dtype=torch.int64)
        if len(self.rows) == 0:
            raise DataError(f"{source} holds no samples; give it at least one")

    @property
    def indices(self) -> tuple[int, ...]:
        """Index of each sample in the source."""
        return tuple(self.rows.tolist())

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches: `⌈samples / batch_size⌉`, or `⌊samples / batch_size⌋` if the last short batch is dropped."""
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def take(self, n: int, seed: int) -> Self:
        """A fixed random subset."""
        return self.with_rows(self.rows[sample_rows(len(self), n, seed)])

    def with_rows(self, rows: Tensor) -> Self:
        """The same source with other rows."""
        other = copy.copy(self)
        RowSplit.__init__(other, self._source, rows)
        return other

    def _in_order(self, shuffle: bool, generator: torch.Generator) -> Tensor:
        return self.rows[torch.randperm(len(self), generator=generator)] if shuffle else self.rows
