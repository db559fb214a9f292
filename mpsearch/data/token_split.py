"""`TokenSplit`: windows of tokens in memory, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpsearch.data.split import InputsAndTargets, Split
from mpsearch.data.tensor_split import TensorSplit

__all__ = ["TokenSplit", "few_tokens"]

_TOKENS = 2048


class TokenSplit(TensorSplit):
    """As `TensorSplit`, but batches that are not for training hold at most 2,048 tokens, whatever size is asked for.

    What reads a split without training on it asks for as many samples as are usual of images, and a network returns the scores of a whole
    vocabulary for every token of them. Training batches, which are shuffled, are as large as the recipe says.
    """

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[InputsAndTargets]:
        """One pass; see `Split`."""
        few = batch_size if shuffle else min(batch_size, max(_TOKENS // self.x[0].numel(), 1))
        return super().batches(few, shuffle=shuffle, seed=seed, augment=augment, drop_last=drop_last and few == batch_size)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches of a pass of training."""
        return super().steps(batch_size, drop_last=drop_last)


def few_tokens(split: Split) -> Split:
    """The split; as a `TokenSplit` if it holds windows of tokens `[N, T]` in memory, and a token for each place as targets."""
    if type(split) is not TensorSplit or split.x.dim() != 2 or split.x.shape != split.y.shape:
        return split
    if split.x.is_floating_point() or split.y.is_floating_point():
        return split
    kept: dict[str, Any] = {"rows": split.rows, "augment": split.augment, "transform": split.transform}
    return TokenSplit(split.x, split.y, **kept)
