"""`brecq`, property by property; what it shares with `gptq` is tested there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.brecq import Brecq
from mpsearch.methods.gptq import Gptq
from mpsearch.network.baked import CodedWeight, bake, evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from tests.methods.calibrations import Loss, attached, calibrated
from tests.networks import NETWORKS

QUICK: dict[str, Any] = {"iterations": 40, "block_batch": 32}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(6, 6, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm1(self.first(x))))))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Sequential(Block(), Block()), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return 10 * self.head(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


def residual(method: Gptq) -> tuple[Network, Loss]:
    torch.manual_seed(0)
    model = Small()
    batches = [nn.functional.interpolate(torch.randn(256, 3, 3, 3), 8, mode="bilinear") for _ in range(2)]
    for _ in range(20):
        model(batches[0])  # collects statistics
    model.eval()
    space = Space(name="w", weights=(2, FLOAT_BITS), activations=(8,)).resolve(trace(model, batches[0]))
    network = Network(model, space, Calibration.fit(model, space, batches), method)
    return network, Loss(network, batches)


def test_never_farther_from_the_float_network_than_gptq_and_still_exactly_what_is_baked() -> None:
    losses = {}
    for method in (Gptq(grid="half"), Brecq(grid="half", **QUICK)):
        network, loss = residual(method)
        losses[type(method)] = calibrated(network, loss, network.space.uniform(Choice(2, 8)))
    assert losses[Brecq] <= losses[Gptq]
    baked = evaluated(network)
    with torch.no_grad():
        plain, live = call(baked, loss.inputs[0]), call(network.model, loss.inputs[0])
    torch.testing.assert_close(plain, live, atol=1e-2 * float(live.abs().max()), rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_is_calibrated_to_finite_numbers(name: str) -> None:
    network, loss = attached(name, Brecq(iterations=3, block_batch=4))
    assert math.isfinite(calibrated(network, loss, network.space.uniform(Choice(2, 4))))
    bake(network)
    assert all(parameter.grad is None for parameter in network.model.parameters())


def test_the_same_images_give_the_same_codes() -> None:
    codes = []
    for _ in range(2):
        network, loss = attached("depthwise", Brecq(**QUICK))
        calibrated(network, loss, network.space.uniform(Choice(2)))
        codes.append([layer.weight.codes for layer in bake(network).layers.values() if isinstance(layer.weight, CodedWeight)])
        assert len(codes[-1]) == len(network.space.layers)
    assert all(torch.equal(a, b) for a, b in zip(*codes, strict=True))


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"block_batch": 0}, {"rounding_lr": 0.0}, {"step_lr": -1.0}, {"hardness": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"brecq.{next(iter(wrong))}"):
        Brecq(**wrong)
