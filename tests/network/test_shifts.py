"""Means and variances of the quantized network are those of the float one again."""

from __future__ import annotations

import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.shifts import Shifts
from mpsearch.network.trace import trace
from tests.networks import Depthwise, trained_statistics

SPACE = Space(name="all", weights=(2, FLOAT_BITS), activations=(4, FLOAT_BITS))


def corrected(choice: Choice) -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), torch.randn(64, 1, 8, 8)
    space = SPACE.resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(choice))
    network.model.eval()
    shifts = Shifts(network.architecture, network.model, space.layers)
    with torch.no_grad():
        with shifts.observing():
            call(network.architecture, x)
        with shifts.correcting():
            call(network.model, x)
    return network, x


def outputs(model: nn.Module, path: str, x: torch.Tensor) -> torch.Tensor:
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda m, a, y: kept.append(y.detach()))
    call(model, x)
    handle.remove()
    return kept[0].transpose(0, 1).flatten(1)


def test_every_channel_has_its_float_mean_and_behind_a_norm_its_variance() -> None:
    network, x = corrected(Choice(2, 4))
    for path in ("bn1", "bn2", "grouped", "head"):
        wanted, found = outputs(network.architecture, path, x), outputs(network.model, path, x)
        torch.testing.assert_close(found.mean(1), wanted.mean(1), atol=1e-4, rtol=1e-4)
        if path.startswith("bn"):
            torch.testing.assert_close(found.var(1), wanted.var(1), atol=1e-4, rtol=1e-2)


def test_a_network_at_float_stays_as_it_is() -> None:
    network, _ = corrected(Choice(FLOAT_BITS))
    for name, tensor in network.architecture.state_dict().items():
        torch.testing.assert_close(network.tensor(name), tensor, atol=1e-5, rtol=1e-5)


def test_hooks_are_gone() -> None:
    network, x = corrected(Choice(2))
    before = {name: tensor.clone() for name, tensor in network.model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    call(network.model, x + 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.model.state_dict().items() if name in before)
