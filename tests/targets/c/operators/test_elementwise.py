"""Activation functions and arithmetic, against torch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.targets.c.programs import compared, needs_compiler


class Functions(nn.Module):
    """One linear layer, then every function of its output, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.prelu = nn.Linear(5, 4), nn.PReLU(4)

    def forward(self, x: Tensor) -> Tensor:
        x = 3 * self.layer(x)
        functions = (
            torch.relu, torch.sigmoid, torch.tanh, F.hardsigmoid, F.hardswish, F.hardtanh, F.relu6, F.leaky_relu, F.elu, F.selu, F.gelu,
            F.silu, F.softplus, F.softsign, F.mish, torch.exp, torch.neg, torch.abs, torch.erf, torch.floor, torch.ceil, self.prelu,
            lambda x: F.gelu(x, approximate="tanh"), lambda x: torch.sqrt(torch.abs(x)), lambda x: torch.log(torch.abs(x) + 1),
            lambda x: torch.clamp(x, -0.5, 2.0), lambda x: torch.clamp(x, min=0.25), lambda x: 1 / (2 + torch.abs(x)),
        )  # fmt: skip
        return torch.cat([function(x) for function in functions], 1)


class Arithmetic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3)
        self.gate, self.gain = nn.Conv2d(2, 3, 3), nn.Parameter(torch.randn(3, 1, 1))
        self.register_buffer("mean", torch.randn(1, 3, 1, 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.layer(x), self.gate(x)
        pieces = [a + b, a - b, a * b, a / (b.abs() + 1), torch.maximum(a, b), torch.minimum(a, b), a * self.gain, a - self.mean]
        pieces += [2 * a, 1 - a, a.abs() ** 1.5, a * b.mean((2, 3), keepdim=True), a + b.mean(1, keepdim=True), a + a]
        return torch.cat([piece.flatten(1) for piece in pieces], 1)


@needs_compiler
def test_every_function(tmp_path: Path) -> None:
    torch.manual_seed(0)
    compared(Functions().eval(), torch.randn(6, 5), tmp_path)


@needs_compiler
def test_arithmetic_with_broadcasting(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = compared(Arithmetic().eval(), torch.randn(3, 2, 4, 6), tmp_path)
    assert "static const float constants[12]" in text  # the mean, which is no part of the state
    assert "static const float floats[3]" in text  # the gain


class Swish(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.two(F.silu(self.one(x)))
        return outputs


@needs_compiler
def test_an_input_times_its_sigmoid_is_one_function_without_a_copy(tmp_path: Path) -> None:
    text = compared(Swish().eval(), torch.randn(3, 8), tmp_path)
    assert "#define MODEL_ARENA 32 " in text
