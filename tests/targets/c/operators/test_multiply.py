"""Layers of every kind: convolutions, linear layers, products of activations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.number_format import FLOAT, NumberFormat
from tests.targets.c.programs import EIGHT, compared, needs_compiler, written


class Kinds(nn.Module):
    """1-D convolutions, one that pads to the same length, transposed ones, linear layers over time, a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv1d(3, 4, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.grouped = nn.Conv1d(4, 6, 2, groups=2, stride=2, dilation=2)
        self.up = nn.ConvTranspose1d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.up2 = nn.ConvTranspose2d(1, 2, (2, 3), dilation=(1, 2), bias=False)
        self.over_time = nn.Linear(4, 5)
        self.bare = nn.Parameter(torch.randn(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.same(x)))
        x = self.up(torch.relu(self.grouped(x)))
        y = self.up2(x.unsqueeze(1)).mean(1)
        x = self.over_time(x.transpose(1, 2))
        return torch.cat([(x @ self.bare).flatten(1), (x @ x.transpose(1, 2)).flatten(1), y.flatten(1)], 1)


@needs_compiler
@pytest.mark.parametrize("act", [FLOAT, EIGHT], ids=["af", "a8"])
def test_every_kind_of_layer(act: NumberFormat, tmp_path: Path) -> None:
    torch.manual_seed(0)
    compared(Kinds().eval(), torch.randn(3, 3, 9), tmp_path, NumberFormat("uniform", 4), act)


@needs_compiler
def test_sums_that_do_not_fit_32_bits_have_64(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(70_000, 1)
    x = 1 + torch.rand(2, 70_000)
    text = compared(nn.Sequential(layer).eval(), x, tmp_path, NumberFormat.parse("h8"), EIGHT, tolerance=1e-4)  # torch adds 70,000 floats
    assert "int64_t sum" in text


class Misused(nn.Module):
    def __init__(self, use: str) -> None:
        super().__init__()
        self.layer, self.use = nn.Linear(4, 4), use

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y + self.layer.weight.sum() if self.use == "weight" else y * self.layer.bias


@pytest.mark.parametrize("use", ["weight", "bias"])
def test_a_weight_or_bias_that_something_else_reads_is_refused(use: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^target 'c': operator .* after layer 'layer'\): .*'layer'.*use --target packed$"):
        written(Misused(use).eval(), torch.randn(2, 4), tmp_path / "model.c")
    assert not list(tmp_path.iterdir())
