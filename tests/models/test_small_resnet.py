from __future__ import annotations

import torch
from torch import nn

from mpsearch.models import build_model
from mpsearch.models.small_resnet import resnet18_small


def test_small_resnet_is_the_size_it_says() -> None:
    model = build_model("resnet18_small")
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_172_810
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert build_model("resnet18_small", {"in_channels": 3, "classes": 4})(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_the_stem_keeps_small_images_whole() -> None:
    model = resnet18_small()
    shapes: list[torch.Size] = []
    model.get_submodule("layer1").register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    model(torch.rand(2, 1, 8, 8))
    assert shapes == [(2, 64, 8, 8)]
    assert isinstance(model.get_submodule("maxpool"), nn.Identity)
