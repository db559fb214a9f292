from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from mpsearch.training.compiled import Compiler, compiler_at_hand

CPU = torch.device("cpu")


def test_a_compiler_is_a_program_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/clang++" if name == "clang++" else None)
    assert compiler_at_hand(CPU)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not compiler_at_hand(CPU)


@pytest.mark.parametrize(
    ("mode", "steps", "compiler", "active"),
    [
        ("on", 0, False, True),
        ("off", 10**6, True, False),
        ("auto", 10, True, False),
        ("auto", 10**6, True, True),
        ("auto", 10**6, False, False),
    ],
)
def test_when_forwards_are_compiled(mode: str, steps: int, compiler: bool, active: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++" if compiler else None)
    assert Compiler(mode, CPU, steps).active == active


def test_eager_where_nothing_is_trained() -> None:
    assert Compiler("off", CPU).compiled(nn.Linear(2, 2), 5) is None
    assert Compiler("on", CPU).compiled(nn.Linear(2, 2), 0) is None


def test_one_forward_a_model_until_another_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` is left out: which networks it is asked for, and whose forward comes back, is what counts here."""
    asked: list[nn.Module] = []

    def ask(model: nn.Module) -> nn.Module:
        asked.append(model)
        return model

    monkeypatch.setattr(torch, "compile", ask)
    compiler, first, second = Compiler("on", CPU), nn.Linear(2, 3), nn.Linear(2, 3)
    x = torch.rand(4, 2)
    forward = compiler.compiled(first, 5)
    assert forward is not None
    assert torch.equal(forward(x), first(x))
    assert compiler.compiled(first, 5) is forward
    other = compiler.compiled(second, 5)
    assert other is not None
    assert torch.equal(other(x), second(x))
    assert asked == [first, second]
