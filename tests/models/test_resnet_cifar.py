from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.models import build_model
from mpsearch.models.resnet_cifar import resnet_cifar


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
    convolutions = [
        m for m in build_model("resnet20_cifar", {"depth": 32}).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    assert len(convolutions) == 31


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_counts_layers_with_weights_on_the_main_path(depth: int) -> None:
    names = [name for name, module in resnet_cifar(depth).named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len([name for name in names if "downsample" not in name]) == depth


@pytest.mark.parametrize("depth", [0, 2, 7, 18, 21])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ModelError, match=rf"depth {depth} is not 6n \+ 2; take 20, 32, 44, 56 or 110"):
        resnet_cifar(depth)


def test_stages_halve_the_image_and_double_the_channels() -> None:
    model = resnet_cifar(classes=7, in_channels=1).eval()
    shapes: list[tuple[int, ...]] = []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape[1:])))
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
