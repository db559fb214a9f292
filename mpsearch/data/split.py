"""`Split`: what training, search and evaluation see of data; and the checks every kind of split shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mpsearch.core.errors import DataError

__all__ = ["Batch", "Split", "check_targets", "count_steps", "pair", "require_some", "sample_rows"]

Batch = tuple[Any, Tensor]


@runtime_checkable
class Split(Protocol):
    """Samples of (input, target), in batches that a seed determines."""

    @property
    def indices(self) -> tuple[int, ...] | None:
        """Position of each sample in the source all splits are cut from; `None` where that is unknown."""

    def __len__(self) -> int:
        """Number of samples."""

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches `batches` gives."""

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[Batch]:
        """One pass of (inputs `[B, …]`, targets `[B, …]`); the same seed gives the same order and augmentation."""

    def take(self, n: int, seed: int) -> Split:
        """A fixed random subset of `n` samples, in random order; all of them if there are fewer."""


def pair(item: object) -> tuple[Any, Any]:
    """The item as (input, target).

    Raises:
        DataError: it is something else.
    """
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    what = f"a {type(item).__name__} of {len(item)}" if isinstance(item, tuple | list | dict) else f"a {type(item).__name__}"
    raise DataError(f"a data set must give (input, target), this one gives {what}; wrap it so that each item is such a pair")


def check_targets(targets: Tensor, classes: int) -> Tensor:
    """The targets, if they are class indices in [0, classes).

    Args:
        targets: int `[N]`.
        classes: K, how many outputs the model has.

    Raises:
        DataError: targets that are no whole numbers, or one outside the classes, with its position.
    """
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise DataError(
            f"class labels must be whole numbers, these are {targets.dtype}; convert them, or give the task as a loss and a metric"
        )
    outside = ((targets < 0) | (targets >= classes)).nonzero()
    if len(outside):
        position = tuple(outside[0].tolist())
        raise DataError(
            f"label {int(targets[position])} at position {position[0]} is outside the {classes} classes 0 to {classes - 1}; "
            "correct the labels, or give the model as many outputs as there are classes"
        )
    return targets


def count_steps(samples: int, batch_size: int, drop_last: bool) -> int:
    """`⌊samples / batch_size⌋` or, with the last short batch, `⌈samples / batch_size⌉`."""
    return samples // batch_size if drop_last else -(-samples // batch_size)


def require_some(n: int) -> None:
    """At least one sample.

    Raises:
        DataError: fewer are asked for.
    """
    if n < 1:
        raise DataError(f"a subset needs at least 1 sample, {n} were asked for; ask for more")


def sample_rows(samples: int, n: int, seed: int) -> Tensor:
    """`n` distinct rows out of `samples`, int64 `[min(n, samples)]`, in random order.

    Raises:
        DataError: fewer than one is asked for.
    """
    require_some(n)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:n]
