from __future__ import annotations

import pytest
import torch

from mpsearch.models import MODELS, build_model, is_registered


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_builds_and_runs(name: str) -> None:
    entry = MODELS[name]
    assert entry.description
    assert entry.paper
    assert "\n" not in entry.description + entry.paper
    assert is_registered(name)
    model = build_model(name, {"classes": 7}).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, *entry.example_shape))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_models_are_found_by_name_and_nothing_else_is() -> None:
    assert {"resnet18_small", "resnet20_cifar", "torchvision/mobilenet_v2", "torchvision/resnet18"} <= set(MODELS)
    assert not is_registered("torchvision.models:resnet18")
    assert not is_registered("")
