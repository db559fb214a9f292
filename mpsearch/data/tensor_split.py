"""`TensorSplit`: samples in memory; each batch is gathered, augmented and transformed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.data.split import InputsAndTargets, RowSplit

__all__ = ["TensorSplit"]


class TensorSplit(RowSplit):
    """Some rows of a tensor; several splits may share the tensor without copies.

    Args:
        x: `[N, …]` inputs of any dtype; images may stay uint8.
        y: `[N, …]` targets.
        rows: indices of the samples in this split; all if not given.
        augment: `(x [B, …], generator) → [B, …]`, applied to stored values if `batches` is called with `augment=True`.
        transform: `x [B, …] → float32 [B, …]`, applied to every batch after augmentation.

    Raises:
        DataError: there are no samples, or the numbers of inputs and targets differ.
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
        super().__init__("a split", torch.arange(len(x)) if rows is None else rows)
        self.x = x
        self.y = y
        self.augment = augment
        self.transform = transform

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass; see `Split`."""
        generator = torch.Generator().manual_seed(seed)
        rows = self._in_order(shuffle, generator)
        for step in range(self.steps(batch_size, drop_last=drop_last)):
            chosen = rows[step * batch_size : (step + 1) * batch_size]
            x = self.x[chosen]
            if augment and self.augment is not None:
                x = self.augment(x, generator)
            yield (x if self.transform is None else self.transform(x)), self.y[chosen]
