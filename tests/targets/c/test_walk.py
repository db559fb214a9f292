"""What no C program computes is refused in one line, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from tests.targets.c.programs import written


class Refused(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.layer, self.what = nn.Linear(4, 4), what

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return torch.cumsum(y, 1) if self.what == "operator" else torch.zeros(3) if self.what == "output" else y.sort(1).values


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("operator", r"^target 'c': operator CumSum \(node '\w+', after layer 'layer'\): there is no C function for it; change .* packed$"),
        ("output", r"^target 'c': the output '\w+' does not depend on the input; use --target packed$"),
    ],
)
def test_an_operator_and_an_output(what: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=told):
        written(Refused(what).eval(), torch.randn(2, 4), tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


def test_three_axes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv3d(1, 1, 2), nn.Flatten(), nn.Linear(8, 2)).eval()
    with pytest.raises(ModelError, match=r"operator Conv \(node '\w+', .*: it slides along 3 axes, where 1 or 2 are possible; change"):
        written(model, torch.randn(2, 1, 3, 3, 3), tmp_path / "model.c")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(self.table(x))
        return outputs


def test_inputs_that_are_no_floats(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^target 'c': the network reads .* than float32; use --target packed$"):
        written(Two().eval(), torch.randint(9, (2, 3)), tmp_path / "model.c")
