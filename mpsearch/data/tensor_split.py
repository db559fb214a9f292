"""`TensorSplit`: samples in memory; a batch is one gather, one augmentation and one transform, all vectorised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.data.split import Batch, count_steps, sample_rows

__all__ = ["TensorSplit"]


class TensorSplit:
    """Rows of one tensor; several splits may share it without copies.

    Args:
        x: `[N, …]`, any dtype; images may stay uint8.
        y: `[N, …]` targets.
        rows: which of the N are in this split; all if not given.
        augment: `(x [B, …], generator) → [B, …]` on stored values, only for batches asked for with `augment=True`.
        transform: `x [B, …] → float32 [B, …]` on every batch, after augmentation.

    Raises:
        DataError: no samples, or unequal numbers of inputs and targets.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        rows: Sequence[int] | Tensor | None = None,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if len(x) != len(y):
            raise DataError(f"there must be one target for each input, but there are {len(x)} inputs and {len(y)} targets; make them match")
        self.x = x
        self.y = y
        self.rows = torch.arange(len(x)) if rows is None else torch.as_tensor(rows, dtype=torch.int64)
        self.augment = augment
        self.transform = transform
        if len(self.rows) == 0:
            raise DataError("a split holds no samples; give it at least one")

    @property
    def indices(self) -> tuple[int, ...]:
        """Rows of the shared tensor."""
        return tuple(self.rows.tolist())

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches."""
        return count_steps(len(self), batch_size, drop_last)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[Batch]:
        """One pass; see `Split`."""
        generator = torch.Generator().manual_seed(seed)
        rows = self.rows[torch.randperm(len(self), generator=generator)] if shuffle else self.rows
        for step in range(self.steps(batch_size, drop_last=drop_last)):
            chosen = rows[step * batch_size : (step + 1) * batch_size]
            x = self.x[chosen]
            if augment and self.augment is not None:
                x = self.augment(x, generator)
            yield (x if self.transform is None else self.transform(x)), self.y[chosen]

    def take(self, n: int, seed: int) -> TensorSplit:
        """A fixed subset."""
        return self.with_rows(self.rows[sample_rows(len(self), n, seed)])

    def with_rows(self, rows: Tensor) -> TensorSplit:
        """The same tensors, other rows."""
        return TensorSplit(self.x, self.y, rows=rows, augment=self.augment, transform=self.transform)
