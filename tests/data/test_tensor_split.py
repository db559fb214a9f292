from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.data.augment import CropFlip
from mpsearch.data.tensor_split import TensorSplit


def split(count: int = 10, **options: object) -> TensorSplit:
    return TensorSplit(torch.arange(count), torch.arange(count) * 2, **options)  # type: ignore[arg-type]


def inputs(of: TensorSplit, size: int = 4, **options: object) -> list[int]:
    return [int(x) for batch, _ in of.batches(size, **options) for x in batch]  # type: ignore[arg-type]


def test_a_pass_in_order_and_shuffled() -> None:
    assert inputs(split()) == list(range(10))
    shuffled = inputs(split(), shuffle=True, seed=1)
    assert sorted(shuffled) == list(range(10))
    assert shuffled == inputs(split(), shuffle=True, seed=1)
    assert shuffled != inputs(split(), shuffle=True, seed=2)


def test_order_does_not_depend_on_batch_size() -> None:
    assert inputs(split(), size=3, shuffle=True, seed=5) == inputs(split(), size=7, shuffle=True, seed=5)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_last_batch(drop_last: bool, sizes: list[int]) -> None:
    assert [len(x) for x, _ in split().batches(4, drop_last=drop_last)] == sizes
    assert split().steps(4, drop_last=drop_last) == len(sizes)


def test_targets_go_with_their_inputs() -> None:
    for x, y in split().take(7, 3).batches(2, shuffle=True, seed=4):
        assert torch.equal(y, 2 * x)


def test_take_is_a_fixed_subset_of_source_rows() -> None:
    whole = split(20, rows=range(5, 20))
    taken = whole.take(6, seed=1)
    assert len(taken) == 6
    assert set(taken.indices) <= set(range(5, 20))
    assert taken.indices == whole.take(6, seed=1).indices != whole.take(6, seed=2).indices
    assert inputs(taken) == list(taken.indices)
    assert len(whole.take(99, 0)) == 15


def test_augment_comes_before_transform_and_only_when_asked() -> None:
    def plus_hundred(x: Tensor, generator: torch.Generator) -> Tensor:
        return x + 100

    treated = split(4, augment=plus_hundred, transform=lambda x: x * 2)
    assert inputs(treated) == [0, 2, 4, 6]
    assert inputs(treated, augment=True) == [200, 202, 204, 206]


def test_augmentation_follows_the_seed() -> None:
    images = TensorSplit(torch.rand(12, 1, 8, 8), torch.zeros(12), augment=CropFlip(2))

    def seen(seed: int) -> Tensor:
        return torch.cat([x for x, _ in images.batches(5, shuffle=True, seed=seed, augment=True)])

    assert torch.equal(seen(1), seen(1))
    assert not torch.equal(seen(1), seen(2))


def test_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = inputs(split(), shuffle=True, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert inputs(split(), shuffle=True, seed=1) == first


def test_errors() -> None:
    with pytest.raises(DataError, match="3 inputs and 2 targets"):
        TensorSplit(torch.zeros(3), torch.zeros(2))
    with pytest.raises(DataError, match="holds no samples"):
        split(rows=[])
    with pytest.raises(DataError, match="at least 1 sample, 0 were asked for"):
        split().take(0, 0)
