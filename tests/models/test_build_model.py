from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.core.errors import ModelError, UnknownNameError
from mpsearch.models import build_model

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


def refused(reference: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build_model(reference, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_factory_or_a_class_in_the_current_directory(here: str) -> None:
    assert isinstance(build_model(f"{here}:factory"), nn.Module)
    assert build_model(f"{here}:Net", width=7).state_dict()["fc.weight"].shape == (2, 7)
    assert build_model("torchvision.models:resnet18", num_classes=3).state_dict()["fc.bias"].shape == (3,)


def test_weights_are_loaded(here: str, tmp_path: Path) -> None:
    source = build_model(f"{here}:factory")
    torch.save(source.state_dict(), tmp_path / "w.pt")
    model = build_model(f"{here}:factory", weights=tmp_path / "w.pt")
    assert torch.equal(model.state_dict()["fc.weight"], source.state_dict()["fc.weight"])


def test_registered_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'resnet19'; known: resnet18_small, resnet20_cifar"):
        build_model("resnet19")
    assert refused("resnet20_cifar", width=3) == "model 'resnet20_cifar' has no option 'width'; it has depth, classes, in_channels"
    assert refused("resnet20_cifar", depth=21) == "depth 21 is not 6n + 2; take 20, 32, 44, 56 or 110"
    assert "fails with RuntimeError" in refused("resnet20_cifar", classes=-1)
