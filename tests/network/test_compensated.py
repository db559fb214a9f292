"""What signals see when rounding is compensated."""

from __future__ import annotations

import pytest
import torch

from mpsearch.core.number_format import FLOAT_BITS, NumberFormat, as_format
from mpsearch.core.space import LayerMenu, Space
from mpsearch.network.calibrate import Calibration
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.trace import trace
from tests.networks import NETWORKS, trained_statistics

SPACE = Space(name="all", weights=(1, 2, 4, FLOAT_BITS), activations=(4, FLOAT_BITS))


def fitted(name: str) -> tuple[Calibration, CompensatedCalibration, torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    model = trained_statistics(build())
    batches = [inputs() for _ in range(8)]
    space = SPACE.resolve(trace(model, batches[0]))
    return (
        Calibration.fit(model, space, batches, "half"),
        CompensatedCalibration.fit(model, space, batches, "half"),
        model,
        batches[0],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_gets_finite_weights_of_the_right_shape(name: str) -> None:
    plain, compensated, model, _ = fitted(name)
    for layer in SPACE.resolve(trace(model, NETWORKS[name][1]())).layers:
        for bits in (1, 2, FLOAT_BITS):
            weight = compensated.weight(layer.name, as_format(bits))
            assert weight.shape == plain.weight(layer.name, as_format(bits)).shape
            assert bool(torch.isfinite(weight).all())


def test_outputs_change_less_though_weights_change_more() -> None:
    plain, compensated, model, x = fitted("depthwise")
    weight = model.get_submodule("stem").weight.detach()

    def changes(calibration: Calibration) -> tuple[float, float]:
        change = calibration.weight("stem", as_format(2)) - weight
        y = torch.nn.functional.conv2d(x, change, padding=1)
        return float((y - y.mean((0, 2, 3), keepdim=True)).square().mean()), float(change.square().mean())

    (outputs, weights), (plain_outputs, plain_weights) = changes(compensated), changes(plain)
    assert outputs < 1.05 * plain_outputs
    assert weights > 0.9 * plain_weights


def test_steps_and_activations_are_those_of_plain_calibration() -> None:
    plain, compensated, _, _ = fitted("mlp")
    assert torch.equal(plain.weight_steps("0", as_format(2)), compensated.weight_steps("0", as_format(2)))
    assert torch.equal(plain.act_step("0", as_format(4)), compensated.act_step("0", as_format(4)))


@pytest.mark.parametrize("spelled", ["2g32", "3g32z", "4g64"])
def test_groups_of_inputs_are_compensated_too(spelled: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 24, bias=False), torch.nn.ReLU(), torch.nn.Linear(24, 3)).eval()
    x = torch.randn(20, 16, 64) @ torch.randn(64, 64)
    format = NumberFormat.parse(spelled)
    space = Space(name="groups", weights=(8,), layers={"0": LayerMenu(weights=(format,))}).resolve(trace(model, x))
    change = {}
    for kind in (Calibration, CompensatedCalibration):
        weight = kind.fit(model, space, [x]).weight("0", format)
        change[kind] = float((x @ (weight - model[0].weight.detach()).mT).square().mean())
        steps = [len(row.unique()) for row in weight.detach().reshape(-1, int(format.granularity))]
        assert max(steps) <= 2**format.bits
    assert change[CompensatedCalibration] < 0.7 * change[Calibration]


def test_all_tokens_are_read_and_places_of_images_sampled() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 4)).eval()
    x = torch.zeros(1, 200, 8)
    x[0, 150, 3] = 1.0  # one token of many
    space = Space(name="all", weights=(2,)).resolve(trace(model, x))
    format = as_format(2)
    found = CompensatedCalibration.fit(model, space, [x]).weight("0", format)
    assert not torch.equal(found, CompensatedCalibration.fit(model, space, [torch.zeros_like(x)]).weight("0", format))
