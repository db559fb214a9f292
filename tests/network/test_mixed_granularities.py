"""Formats of one layer may differ in what shares a scale: calibrated, compensated, trained and stored as each alone would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import SpaceError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake, evaluated, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint, restricted

MENU = tuple(map(NumberFormat.parse, ("3g32", "4g64", "5g128z", "8", "2g32", "float")))
METHOD = METHODS["lsq"]()


class Tied(nn.Module):
    """An embedding that is the head, too, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.up, self.down = nn.Embedding(20, 128), nn.Linear(128, 128), nn.Linear(128, 128)
        self.head = nn.Linear(128, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(x + self.down(torch.relu(self.up(x))))


TOKENS = torch.randint(20, (8, 5), generator=torch.Generator().manual_seed(0))


def made(menu: tuple[NumberFormat, ...] = MENU) -> tuple[nn.Module, ResolvedSpace]:
    torch.manual_seed(0)
    model = Tied().eval()
    return model, Space(name="mixed", weights=menu, activations=(FLOAT,)).resolve(trace(model, TOKENS))


def allocated(space: ResolvedSpace, shift: int) -> Allocation:
    return Allocation(
        {name: menu[(row + shift) % len(menu)] for row, (name, menu) in enumerate(zip(space.names, space.menus, strict=True))}
    )


def alone(allocation: Allocation) -> ResolvedSpace:
    """The space of nothing but an allocation."""
    _, space = made()
    menus = tuple((choice,) for choice in allocation.values())
    return ResolvedSpace(layers=space.layers, menus=menus, groups=space.groups)


@pytest.mark.parametrize("name", ["lsq", "gptq"])
def test_one_network_takes_each_in_turn_as_a_network_of_that_alone_would(name: str) -> None:
    model, space = made()
    method = METHODS[name]()
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), method)
    for shift in (0, 2, 1, 5, 0):
        allocation = allocated(space, shift)
        only = alone(allocation)
        apart = Network(model, only, Calibration.fit(model, only, [TOKENS]), method)
        for each in (network, apart):
            each.begin(allocation)
        with torch.no_grad():
            assert torch.equal(network.model(TOKENS), apart.model(TOKENS))
            assert torch.equal(evaluated(network)(TOKENS), evaluated(apart)(TOKENS))


def test_signals_see_the_weights_that_are_stored() -> None:
    model, space = made()
    for kind in (Calibration, CompensatedCalibration):
        calibration = kind.fit(model, space, [TOKENS])
        for format in MENU:
            only = Space(name="one", weights=(format,), activations=(FLOAT,)).resolve(space.layers)
            for name in space.names:
                assert torch.equal(calibration.weight(name, format), kind.fit(model, only, [TOKENS]).weight(name, format))


def test_training_learns_the_steps_of_the_format_at_hand() -> None:
    model, space = made()
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), METHOD)
    for shift in (0, 1):
        network.begin(allocated(space, shift))
        before = [parameter.detach().clone() for parameter in network.quantizer_parameters()]
        optimizer = torch.optim.SGD([*network.network_parameters(), *network.quantizer_parameters()], 0.05)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(network.model(TOKENS).flatten(0, 1), (TOKENS.flatten() + 1) % 20).backward()
            optimizer.step()
        assert any(not torch.equal(parameter, was) for parameter, was in zip(network.quantizer_parameters(), before, strict=True))
        with torch.no_grad():
            trained, baked = network.model.eval()(TOKENS), evaluated(network)(TOKENS)
        assert (trained - baked).norm() < 1e-3 * baked.norm()  # scales in half precision


@pytest.mark.parametrize("shift", range(len(MENU)))
def test_files_have_one_size_an_allocation_and_hold_what_was_scored(shift: int, tmp_path: Path) -> None:
    model, space = made()
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), METHOD)
    network.begin(allocated(space, shift))
    parts, path = bake(network), tmp_path / "model.safetensors"
    writer = TARGETS["packed"]().writer(Blueprint.of(model, TOKENS, space, stores=[METHOD.stores]))
    layers = [(layer, parts.layers[layer.name].weight_format) for layer in space.layers]
    promised = writer.overhead_bytes + sum(writer.layer_bytes(layer, format, FLOAT) for layer, format in layers)
    assert writer.write(path, parts) == promised
    artifact = TARGETS["packed"]().read(path)
    assert {name: choice.weight for name, choice in artifact.allocation.items()} == {layer.name: format for layer, format in layers}
    with torch.no_grad():
        assert torch.equal(artifact.install(model)(TOKENS), install(model, space.layers, parts)(TOKENS))


@pytest.mark.parametrize("target", [name for name, kind in TARGETS.items() if not kind.mixes_granularities])
def test_other_targets_say_that_they_take_one_kind_a_layer(target: str) -> None:
    _, space = made(tuple(map(NumberFormat.parse, ("4g32", "8"))))
    with pytest.raises(
        SpaceError, match=rf"its menu has scales by 32 and channel, and target '{target}' takes one kind a layer|can hold none"
    ):
        restricted(space, TARGETS[target](), [METHOD])


def test_a_scale_for_a_whole_tensor_stands_alone() -> None:
    with pytest.raises(SpaceError, match=r"mixes scales by 32 and tensor .*; a scale for a whole tensor cannot stand beside others"):
        made(tuple(map(NumberFormat.parse, ("4g32", "4s"))))
