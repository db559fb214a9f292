"""Weights as rows: every layout is undone by `join`, and a row holds what shares a scale."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.number_format import Granularity
from mpsearch.numbers.channels import Rows

MODULES = [
    nn.Linear(64, 6),
    nn.Conv2d(32, 6, (2, 1)),
    nn.Conv1d(64, 8, 4, groups=4),
    nn.ConvTranspose2d(64, 6, 1, groups=2),
    nn.Embedding(64, 6),
]


@pytest.mark.parametrize("granularity", ["channel", "tensor", 32])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_join_undoes_split(module: nn.Module, granularity: Granularity) -> None:
    weight = cast(Tensor, module.weight).detach()
    if isinstance(granularity, int) and (weight.numel() // Rows.of(module, weight).channels) % granularity:
        pytest.skip("the groups do not divide a channel")
    rows = Rows.of(module, weight, granularity)
    split = rows.split(weight)
    assert split.shape == (rows.count, weight.numel() // rows.count)
    assert torch.equal(rows.join(split), weight)


@pytest.mark.parametrize("granularity", ["channel", "tensor", 32])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1), (1, 2), (0, 1, 2), ()])
def test_channels_along_any_axes(axes: tuple[int, ...], granularity: Granularity) -> None:
    weight = torch.randn(2, 32, 64)
    if granularity == 32 and set(axes) >= {1, 2}:
        pytest.skip("the groups do not divide a channel")
    rows = Rows.of(nn.Module(), weight, granularity, axes)
    split = rows.split(weight)
    assert split.shape == (rows.count, weight.numel() // rows.count)
    assert torch.equal(rows.join(split), weight)
    assert rows.join(split).is_contiguous()
    if granularity == "channel":
        summed = [axis for axis in range(3) if axis not in axes]
        expected = weight.abs().amax(summed) if summed else weight.abs()
        assert torch.equal(split.abs().amax(1), expected.flatten())


def test_a_group_lies_within_one_channel() -> None:
    weight = torch.arange(6.0).repeat_interleave(64).reshape(6, 64)
    rows = Rows("first", (6, 64), granularity=32)
    assert rows.split(weight).std(1).tolist() == [0.0] * 12
    assert torch.equal(rows.spread(torch.arange(6.0)), rows.split(weight)[:, 0])


def test_channels_of_transposed_and_grouped_layers() -> None:
    module = nn.ConvTranspose2d(4, 6, 1, groups=2)
    assert Rows.of(module, module.weight).channels == 6
    assert Rows.of(module, module.weight, "tensor").count == 1


def test_numbers_by_channel_reach_their_rows() -> None:
    gain = torch.tensor([1.0, 2.0])
    assert Rows("first", (2, 64)).spread(gain).tolist() == [1, 2]
    assert Rows("first", (2, 64), granularity=32).spread(gain).tolist() == [1, 1, 2, 2]
    assert Rows("first", (2, 64), granularity="tensor").spread(gain).tolist() == [1]
