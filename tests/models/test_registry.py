from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.models import MODELS, build_model, is_registered


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_builds_and_runs(name: str) -> None:
    entry = MODELS[name]
    assert entry.description
    assert entry.paper
    assert "\n" not in entry.description + entry.paper
    assert is_registered(name)
    model = build_model(name, classes=7).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, *entry.example_shape))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_models_are_found_by_name_and_nothing_else_is() -> None:
    assert {"resnet18_small", "resnet20_cifar", "torchvision/mobilenet_v2", "torchvision/resnet18"} <= set(MODELS)
    assert not is_registered("torchvision.models:resnet18")
    assert not is_registered("")


def test_small_resnet_is_the_size_it_says() -> None:
    model = build_model("resnet18_small")
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_172_810
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert build_model("resnet18_small", in_channels=3, classes=4)(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_resnet20_has_the_published_weights_and_names() -> None:
    model = build_model("resnet20_cifar")
    weights = [m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(weights) == 270_896
    names = set(model.state_dict())
    assert {
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.0.weight",
        "layer3.0.downsample.1.running_var",
    } <= names
    assert {"layer3.2.bn2.weight", "fc.bias"} <= names
    assert not any("layer1" in name and "downsample" in name for name in names)
    assert len(names) == 128


def test_the_published_resnet_depths() -> None:
    convolutions = [m for m in build_model("resnet20_cifar", depth=32).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 31
