"""Views and moves, against torch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.number_format import NumberFormat
from tests.targets.c.programs import EIGHT, compared, needs_compiler


class Moves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        a, b = x.chunk(2, 1)
        c, d, e = x.split([1, 2, 1], 1)
        shuffled = x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)
        made = (
            a * b, c + d + e, shuffled, x.permute(0, 3, 1, 2), x[:, 1:3, ::2], x[:, 0], x[..., -1], x.index_select(1, torch.tensor([2, 0])),
            F.pad(x, (1, 2, 0, 1), value=0.5), torch.cat([a, x, b], 1), torch.stack([a, b], -1), x.mT,
            x.mean(1, keepdim=True).expand(-1, 3, -1, -1), x.flatten(1), x[:, :1].squeeze(1),
        )  # fmt: skip
        return torch.cat([each.flatten(1) for each in made], 1)


@needs_compiler
def test_every_move(tmp_path: Path) -> None:
    torch.manual_seed(0)
    compared(Moves().eval(), torch.randn(3, 2, 6, 7), tmp_path)


class Padded(nn.Module):
    """A layer whose input is quantized, then padded before it is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, (3, 2), padding="same")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return y, x.flatten(1)


@needs_compiler
def test_a_quantized_input_that_moves_before_its_layer_and_an_input_that_is_an_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    compared(Padded().eval(), torch.randn(3, 2, 4, 4), tmp_path, NumberFormat("uniform", 4), EIGHT)
