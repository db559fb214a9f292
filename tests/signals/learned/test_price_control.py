"""A steered price brings mean bits to the target from prices that are orders of magnitude off, on either side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pytest
import torch

from mpsearch.core.layer import Layer
from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.signals.learned.price_control import PriceController

SIZES = {"a": 100, "b": 900}
WORTH = {"a": 50.0, "b": 1.0}


@dataclass(frozen=True, kw_only=True)
class Priced(Method):
    """Bits go to where damage `worth · 4^−b` and `price · N · b` balance, a third of the way a step."""

    paper: ClassVar[str] = ""
    description: ClassVar[str] = ""
    price: float = 1.0

    def after_step(self, network: Any, progress: float) -> None:
        for name, size in SIZES.items():
            rest = 0.5 * torch.log2(torch.tensor(WORTH[name] / (self.price * size)))
            network.bits[name] += 0.3 * (float(rest.clamp(1, 8)) - network.bits[name])

    def weight_quantizer(self, rows: Any) -> Any:
        raise NotImplementedError

    def act_quantizer(self) -> Any:
        raise NotImplementedError


class Stub:
    """What `PriceController` needs of a network."""

    def __init__(self) -> None:
        self.bits = dict.fromkeys(SIZES, 8.0)
        self.space = self
        self.layers = [cast(Layer, type("L", (), {"name": name, "weights": size})()) for name, size in SIZES.items()]


def bits_of(network: Any) -> Mapping[str, float]:
    return dict(network.bits)


@pytest.mark.parametrize("price", [1e-7, 1e-5, 1e-2])
def test_reaches_the_target_from_any_price(price: float) -> None:
    network = Stub()
    steered = PriceController(Priced(price=price), price="price", bits=bits_of, target=4.0, gain=0.5)
    hooks = steered.hooks(cast(Network, network))
    for step in range(80):
        hooks.after_step(step / 80)
    mean = sum(SIZES[name] * bits for name, bits in steered.bits.items()) / 1000
    assert mean == pytest.approx(4.0, abs=0.4)
    assert steered.bits["a"] > steered.bits["b"] + 2  # log4(50 · 9) bits apart
    assert steered.method.price != price


def test_before_it_arrives_the_bits_are_those_of_the_start() -> None:
    network = Stub()
    steered = PriceController(Priced(), price="price", bits=bits_of, target=4.0, gain=0.5)
    steered.hooks(cast(Network, network))
    assert steered.bits == {"a": 8.0, "b": 8.0}
