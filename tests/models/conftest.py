from __future__ import annotations

import sys
from pathlib import Path

import pytest

SOURCE = """
import torch
from torch import nn

constant = 3
network = nn.Linear(2, 2)

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(width, 2)

def factory(width=4):
    return Net(width)

def angry(**options):
    raise RuntimeError("no such thing\\n  on two lines")

def forgetful():
    Net()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module in the current directory, under a name no other test has imported."""
    name = "mine_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / f"{name}.py").write_text(SOURCE)
    return name
