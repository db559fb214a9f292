from __future__ import annotations

import pytest
import torch

from mpsearch.data.base import as_split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.data.token_split import TokenSplit, few_tokens


def split_of(windows: int, context: int) -> TokenSplit:
    tokens = torch.arange(windows * context).reshape(windows, context)
    return TokenSplit(tokens, tokens + 1)


@pytest.mark.parametrize(("context", "size"), [(512, 4), (100, 16), (4096, 1)])
def test_batches_hold_few_tokens_except_in_training(context: int, size: int) -> None:
    split = split_of(20, context)
    read = [x for x, _ in split.batches(16)]
    assert {len(x) for x in read[:-1]} <= {size}
    assert torch.equal(torch.cat(read), split.x)
    trained = [len(x) for x, _ in split.batches(16, shuffle=True)]
    assert trained == [16, 4]
    assert split.steps(16) == len(trained)
    assert split.steps(16, drop_last=True) == len(list(split.batches(16, shuffle=True, drop_last=True)))


def test_nothing_is_dropped_where_batches_are_smaller_than_asked_for() -> None:
    split = split_of(5, 1024)
    assert sum(len(x) for x, _ in split.batches(4, drop_last=True)) == 5


def test_parts_are_read_alike() -> None:
    taken = split_of(20, 512).take(9, 0)
    assert isinstance(taken, TokenSplit)
    assert [len(x) for x, _ in taken.batches(256)] == [4, 4, 1]


def test_tokens_in_memory_are_recognised_and_nothing_else_is() -> None:
    tokens, images = torch.zeros(4, 8, dtype=torch.long), torch.zeros(4, 8)
    found = few_tokens(TensorSplit(tokens, tokens, rows=[2, 1]))
    assert isinstance(found, TokenSplit)
    assert found.indices == (2, 1)
    categories = TensorSplit(tokens, tokens[:, 0])
    assert few_tokens(categories) is categories
    for other in (TensorSplit(images, tokens), TensorSplit(tokens[:, 0], tokens), as_split(torch.utils.data.TensorDataset(images, tokens))):
        assert few_tokens(other) is other
