from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mpsearch.core.errors import UnknownNameError
from mpsearch.models import build_model
from tests.models.refusals import refused


def test_a_factory_or_a_class_in_the_current_directory(here: str) -> None:
    assert isinstance(build_model(f"{here}:factory"), nn.Module)
    assert build_model(f"{here}:Net", {"width": 7}).state_dict()["fc.weight"].shape == (2, 7)
    assert build_model("torchvision.models:resnet18", {"num_classes": 3}).state_dict()["fc.bias"].shape == (3,)


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
