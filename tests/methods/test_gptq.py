"""`gptq`, property by property."""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.core.space import LayerMenu, Space
from mpsearch.methods.base import Method
from mpsearch.methods.gptq import Gptq
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import CodedWeight, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import concatenated
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from tests.methods.calibrations import SPACE, Loss, attached, calibrated
from tests.networks import NETWORKS, Conv1D


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("choice", [Choice(1), Choice(2, 4), Choice(FLOAT_BITS, 4)], ids=str)
def test_any_network_is_calibrated_to_finite_numbers_that_can_be_baked(name: str, choice: Choice) -> None:
    network, loss = attached(name)
    assert math.isfinite(calibrated(network, loss, network.space.uniform(choice)))
    bake(network)


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("name", ["mlp", "depthwise"])
def test_nearer_to_the_float_network_than_plain_steps(name: str, bits: int) -> None:
    losses = {}
    for method in (Lsq(grid="half"), Gptq(grid="half")):
        network, loss = attached(name, method)
        losses[type(method)] = calibrated(network, loss, network.space.uniform(Choice(bits)))
    assert losses[Gptq] < 0.8 * losses[Lsq]


def layer_change(method: Method, first: Choice) -> float:
    """Squared change of the second layer's outputs, after a first layer at `first`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 6)).eval()
    x = torch.randn(256, 4) @ torch.randn(4, 12) + 0.1 * torch.randn(256, 12)
    space = SPACE.resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    calibrated(network, Loss(network, [x]), Allocation({"0": first, "2": Choice(2)}))
    with torch.no_grad():
        return float((network.model(x) - model(x)).square().mean())


def test_errors_of_correlated_inputs_make_up_for_each_other() -> None:
    assert layer_change(Gptq(), Choice(FLOAT_BITS)) < 0.3 * layer_change(Lsq(), Choice(FLOAT_BITS))


def test_asymmetric_targets_make_up_for_errors_of_layers_before() -> None:
    assert layer_change(Gptq(), Choice(2)) < layer_change(Gptq(asymmetric=False), Choice(2))


def test_latent_weights_stay_in_their_cells_near_the_float_weights() -> None:
    network, loss = attached()
    calibrated(network, loss, network.space.uniform(Choice(3)))
    for layer in network.space.layers:
        quantizer, latent = network.weight_quantizer(layer), network.latent_weight(layer).detach()
        codes, steps = quantizer.export(latent)
        values = (codes + quantizer.grid.offset) * steps.unsqueeze(1)
        rest = (quantizer.rows.split(latent) - values).abs() / steps.unsqueeze(1)
        assert float(rest.max()) <= 0.2501
        floats = quantizer.rows.split(dict(network.architecture.named_parameters())[f"{layer.module}.weight"].detach())
        assert bool(((quantizer.rows.split(latent) - floats).abs() <= (values - floats).abs() + 1e-6).all())


def test_float_layers_keep_their_weights() -> None:
    network, loss = attached()
    mixed = Allocation({**network.space.uniform(Choice(2)), "depth": Choice(FLOAT_BITS)})
    calibrated(network, loss, mixed)
    assert torch.equal(network.tensor("depth.weight"), network.architecture.get_submodule("depth").weight)  # type: ignore[arg-type]


def test_the_same_images_give_the_same_codes() -> None:
    found: list[dict[str, Tensor]] = []
    for _ in range(2):
        network, loss = attached()
        calibrated(network, loss, network.space.uniform(Choice(2, 8)))
        found.append({name: layer.weight.codes for name, layer in bake(network).layers.items() if isinstance(layer.weight, CodedWeight)})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_batches_become_one_batch_in_their_structure() -> None:
    batches = [{"a": torch.zeros(3, 1), "b": (torch.ones(3), torch.ones(3, 2))} for _ in range(2)]
    one = concatenated(batches, 5)
    assert [one["a"].shape, one["b"][0].shape, one["b"][1].shape] == [(5, 1), (5,), (5, 2)]


@pytest.mark.parametrize(
    "wrong",
    [{"images": 0}, {"places": 0}, {"clips": 0}, {"clip_low": 0.0}, {"clip_high": 0.1}, {"sweeps": -1}, {"damping": 0.0}, {"ridge": 0.0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"gptq.{next(iter(wrong))}"):
        Gptq(**wrong)


class Repeated(nn.Module):
    """One layer several times; later calls see inputs that the first does not."""

    turns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = nn.Linear(16, 16), nn.Linear(16, 4)
        turns = [torch.linalg.qr(torch.randn(16, 16))[0] * scale for scale in (0.3, 3.0, 3.0)]
        self.register_buffer("turns", torch.stack(turns))

    def inputs(self, x: Tensor) -> Tensor:
        return (x * torch.linspace(0.1, 2.0, 16)) @ self.turns

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(sum(torch.tanh(self.block(rows)) for rows in self.inputs(x)))
        return logits


def test_a_layer_is_rounded_for_all_of_its_calls() -> None:
    """Not for the first alone, whose inputs are the smallest here."""
    torch.manual_seed(0)
    model, x = Repeated().eval(), torch.randn(256, 16)
    first = copy.deepcopy(model)
    first.turns = first.turns[:1]
    errors: dict[str, float] = {}
    for name, float_model in (("all", model), ("first", first)):
        space = SPACE.resolve(trace(float_model, x))
        network = Network(float_model, space, Calibration.fit(float_model, space, [x]), Gptq(grid="half"))
        loss = Loss(network, [x])
        network.begin(space.uniform(Choice(2)))
        errors["calibrated"] = _change(model, network, x)
        calibrated(network, loss, space.uniform(Choice(2)))
        errors[name] = _change(model, network, x)
    assert errors["all"] < 0.8 * errors["first"]
    assert errors["all"] < errors["calibrated"]


@torch.no_grad()
def _change(model: Repeated, network: Network, x: Tensor) -> float:
    """Mean squared change of the block's outputs over all calls, up to a shift, which the bias makes good."""
    weight = cast(Tensor, network.model.get_submodule("block").weight)
    change = model.inputs(x) @ (weight - model.block.weight).T
    return float((change - change.mean((0, 1))).square().mean())


@pytest.mark.parametrize("spelled", ["2g32", "3g32z", "3z"])
@pytest.mark.parametrize("transposed", [False, True], ids=["linear", "Conv1D"])
def test_groups_and_zero_points_are_compensated_and_stored_as_found(spelled: str, transposed: bool) -> None:
    torch.manual_seed(0)
    first = Conv1D(24, 64) if transposed else nn.Linear(64, 24)
    model = nn.Sequential(first, nn.Linear(24, 3)).eval()
    x = torch.randn(20, 16, 16) @ torch.randn(16, 64) + 0.1 * torch.randn(20, 16, 64)
    format = NumberFormat.parse(spelled)
    space = Space(name="groups", weights=(FLOAT_BITS,), layers={"0": LayerMenu(weights=(format,))}).resolve(trace(model, x))
    allocation = Allocation({"0": Choice(format), "1": Choice(FLOAT_BITS)})
    change = {}
    for method in (Lsq(), Gptq(asymmetric=False)):
        network = Network(model, space, Calibration.fit(model, space, [x]), method)
        calibrated(network, Loss(network, [x]), allocation)
        with torch.no_grad():
            change[type(method)] = float((network.model(x) - model(x)).square().mean())
            baked = bake(network).layers["0"].weight
            assert isinstance(baked, CodedWeight)
            assert baked.format == format
            quantizer = network.weight_quantizer(space.layers[0])
            quantized: Any = network.model.get_submodule("0")
            torch.testing.assert_close(baked.values(), quantizer.rows.split(quantized.weight), rtol=2e-3, atol=1e-5)
    assert change[Gptq] < 0.6 * change[Lsq]


def test_one_scale_for_a_tensor_is_none_of_its_formats() -> None:
    assert Gptq().stores(NumberFormat.parse("4s")) is None
    assert Gptq().stores(NumberFormat.parse("4g64z")) == NumberFormat.parse("4g64z")


@pytest.mark.parametrize(("context", "read"), [(4, 3), (3000, 2), (9000, 1)])
def test_windows_of_tokens_are_read_whole_and_few_at_a_time(context: int, read: int) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.mix = nn.Embedding(5, 4), nn.Linear(4, 3)
            self.sizes: list[tuple[int, ...]] = []

        def forward(self, tokens: Tensor) -> Tensor:
            self.sizes.append(tuple(tokens.shape))
            return self.mix(self.words(tokens))

    torch.manual_seed(0)
    model, tokens = Reader().eval(), torch.randint(5, (3, context))
    space = Space(name="two", weights=(2,)).resolve(trace(model, tokens))
    network = Network(model, space, Calibration.fit(model, space, [tokens]), Gptq(clips=1, sweeps=0))
    model.sizes.clear()
    calibrated(network, Loss(network, [tokens]), space.uniform(Choice(2)))
    assert (read, context) in model.sizes
