"""A file describes its network by a name and plain options; it cannot have more built than it holds, nor open a path."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.models import MODELS, build_model
from mpsearch.models.described import build_described

SMALL = 8 * 1400
"""Bits of a file of 1.4 KB."""


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_is_built_from_a_file_that_can_hold_it(name: str) -> None:
    reference = build_model(name)
    bits = sum(parameter.numel() for parameter in reference.parameters())  # at one bit a weight
    described = build_described(name, {}, bits)
    shapes = {key: value.shape for key, value in reference.state_dict().items()}
    assert {key: value.shape for key, value in described.state_dict().items()} == shapes
    assert not any(tensor.is_meta for tensor in described.state_dict().values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20_cifar", {"classes": 4_000_000}),
        ("resnet20_cifar", {"depth": 120_002}),
        ("resnet20_cifar", {"in_channels": 2**30}),
        ("torchvision/vit_b_16", {}),
    ],
)
def test_a_forged_option_builds_nothing(name: str, options: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(ArtifactError, match=f"describes a '{name}' of more numbers than it holds"):
        build_described(name, options, SMALL)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("value", ["/etc/passwd", "../x", "a" * 1000, 10**30, 2.0**40, float("nan"), {"a": 1}, [[["/x"]]], b"x"])
def test_a_value_that_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(ArtifactError, match="which is no plain one"):
        build_described("resnet20_cifar", {"depth": value}, SMALL)


@pytest.mark.parametrize("option", ["weights", "reference", "options"])
def test_no_option_of_a_file_reaches_what_is_not_the_factorys(option: str) -> None:
    with pytest.raises(ModelError, match=f"no option '{option}'"):
        build_described("resnet20_cifar", {option: "x"}, 10**9)


class Wide(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)


def test_options_for_a_named_factory_are_bounded_as_well() -> None:
    here = f"{__name__}:Wide"
    assert isinstance(build_described(here, {"width": 8}, SMALL), Wide)
    with pytest.raises(ArtifactError, match="more numbers than it holds"):
        build_described(here, {"width": 2000}, SMALL)


def test_the_bound_ends_with_the_call() -> None:
    build_described("resnet20_cifar", {"depth": 8}, 10**6)
    nn.Linear(3000, 3000)
    assert torch.empty(1).device.type == "cpu"
