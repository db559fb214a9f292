"""Superblocks under `lsq` and `gptq`: steps are those of a file at any time, in training, after compensation, and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ConfigError, SpaceError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import CodedWeight, bake, evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.packing import multiples_of, offset_multiples_of
from mpsearch.targets import TARGETS, Blueprint

FORMATS = [NumberFormat.parse(text) for text in ("h2k", "3k", "4kz", "5kz", "6k")]
every_format = pytest.mark.parametrize("format", FORMATS, ids=str)


class Batches:
    """Inputs for a calibration, as a study gives them."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = [inputs]

    def drawn(self, images: int, views: int) -> list[Tensor]:
        return self.inputs

    def __call__(self) -> float:
        return 0.0


def made(format: NumberFormat) -> tuple[nn.Module, ResolvedSpace, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 16)).eval()
    x = torch.randn(96, 256) @ torch.randn(256, 256) / 16
    return model, Space(name="one", weights=(format,), activations=(FLOAT,)).resolve(trace(model, x)), x


def started(name: str, format: NumberFormat) -> tuple[Network, Tensor]:
    model, space, x = made(format)
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS[name]())
    network.begin(space.uniform(space.menus[0][0]))
    return network, x


def steps_are_exact(network: Network) -> bool:
    parts = bake(network)
    for baked in parts.layers.values():
        assert isinstance(baked.weight, CodedWeight)
        scales = baked.weight.scales.numbers().numpy()
        if baked.weight.format.zero_point:
            offset_multiples_of(scales)  # raises where they are not
        else:
            multiples_of(scales, baked.weight.format.bits)
    return True


@every_format
def test_compensation_keeps_the_steps_and_lowers_the_error(format: NumberFormat) -> None:
    network, x = started("gptq", format)
    with torch.no_grad():
        wanted = network.architecture(x)
        nearest = evaluated(network)(x)
        METHODS["gptq"](images=96).calibrate(network, Batches(x))  # type: ignore[call-arg]
        compensated = evaluated(network)(x)
    assert steps_are_exact(network)
    assert (compensated - wanted).norm() < 0.8 * (nearest - wanted).norm()


@every_format
def test_signals_see_compensated_weights_of_the_same_steps(format: NumberFormat) -> None:
    model, space, x = made(format)
    calibration = CompensatedCalibration.fit(model, space, [x])
    steps, zeros = calibration.weight_steps("0", format), calibration.zeros("0", format)
    if zeros is None:
        multiples_of(steps.numpy(), format.bits)
    rows = calibration.weight("0", format).reshape(len(steps), -1) / steps[:, None]
    offset = 0.5 if format.kind == "half_step" else torch.zeros(1, 1) if zeros is None else -zeros[:, None]
    assert torch.allclose(rows - offset, (rows - offset).round(), atol=1e-3)


@every_format
def test_what_is_trained_is_what_a_file_holds(format: NumberFormat, tmp_path: Path) -> None:
    network, x = started("lsq", format)
    optimizer = torch.optim.SGD([*network.network_parameters(), *network.quantizer_parameters()], 0.01)
    for _ in range(4):
        optimizer.zero_grad()
        network.model(x).square().mean().backward()
        optimizer.step()
    assert steps_are_exact(network)
    parts, path = bake(network), tmp_path / "model.safetensors"
    TARGETS["packed"]().writer(Blueprint.of(network.architecture, x, network.space, stores=[Lsq().stores])).write(path, parts)
    with torch.no_grad():
        assert torch.equal(TARGETS["packed"]().read(path).install(network.architecture)(x), network.model.eval()(x))


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if not kind.superblocks])
def test_other_methods_cannot_train_them(name: str) -> None:
    assert METHODS[name]().stores(FORMATS[1]) is None


@pytest.mark.parametrize("text", ["4k", "5k", "k", "3kz", "6kz", "h4kz", "tk", "tkz", "m3k", "p3k", "p4kz"])
def test_there_are_no_others(text: str) -> None:
    with pytest.raises(ConfigError, match=r"superblocks have 2, 3, 6 bits, uniform or half-step, .* uniform 4 or 5 with one|is no number"):
        NumberFormat.parse(text)


def test_rows_that_they_do_not_fill_and_folded_norms_are_refused() -> None:
    narrow = nn.Sequential(nn.Linear(64, 4))
    with pytest.raises(SpaceError, match="has 64 weights per output channel, which groups of 256 do not divide"):
        Space(name="k", weights=(FORMATS[1],), activations=(FLOAT,)).resolve(trace(narrow.eval(), torch.randn(2, 64)))
    folded = nn.Sequential(nn.Conv2d(256, 4, 1), nn.BatchNorm2d(4)).eval()
    with pytest.raises(SpaceError, match="the BatchNorm of layer '0' is folded into its weight per channel, which superblocks"):
        Space(name="k", weights=(FORMATS[1],), activations=(FLOAT,)).resolve(trace(folded, torch.randn(2, 256, 2, 2)))
