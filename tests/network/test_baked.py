from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.space import Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake, evaluated, install, rest_of_state
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.stored import StoredNumbers
from tests.networks import Depthwise, trained_statistics

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network(x: Tensor) -> Network:
    torch.manual_seed(0)
    model = trained_statistics(Depthwise())
    space = Space(name="t", weights=(1, 2, 4, 32), activations=(4, 32)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(Allocation(dict(zip(space.names, [Choice(4, 4), Choice(1), Choice(2, 4), Choice(32)], strict=True))))
    network.model.eval()
    return network


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_halves_with_an_exponent_keep_eleven_bits(values: list[float]) -> None:
    exact = torch.tensor(values)
    halves = StoredNumbers.of(exact)
    assert halves.values.dtype == torch.float16
    error, largest = (halves.numbers() - exact).abs().double(), exact.abs().max().double()
    assert bool((error <= torch.maximum(exact.abs().double(), largest * 2.0**-13) * 2.0**-11).all())


def test_powers_of_two_are_kept_exactly() -> None:
    values = torch.tensor([2.0**-60, 2.0**-62, 0.0])
    assert torch.equal(StoredNumbers.of(values).numbers(), values)


def test_installed_numbers_compute_what_is_scored(network: Network, x: Tensor) -> None:
    parts = bake(network)
    assert parts.allocation == network.allocation
    with torch.no_grad():
        scored = call(evaluated(network), x)
        assert torch.equal(call(install(Depthwise(), network.space.layers, parts), x), scored)
        torch.testing.assert_close(scored, call(network.model, x), atol=1e-2, rtol=1e-2)  # but for scales in half precision


def test_the_installed_network_has_no_norm_that_was_folded(network: Network) -> None:
    installed = install(Depthwise(), network.space.layers, bake(network))
    assert not any("Norm" in type(module).__name__ for module in installed.modules())


def test_what_belongs_to_no_layer_stays_as_it_is() -> None:
    model = trained_statistics(Depthwise())
    layers = trace(model, torch.randn(4, 1, 8, 8))
    assert rest_of_state(model, layers) == []
    assert rest_of_state(model, layers[1:]) == [
        "stem.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
    ]


@pytest.mark.parametrize("name", ["head.weight", "head.bias", "bn1.weight"])
def test_numbers_that_are_not_finite_are_one_clear_line(network: Network, name: str) -> None:
    with torch.no_grad():
        network.tensor(name)[0] = torch.nan
    with pytest.raises(ModelError, match="finite"):
        bake(network)


def test_a_weight_that_is_not_finite_is_refused_in_codes_too(network: Network) -> None:
    network.latent_weight(network.space.layers[0]).data[0] = float("nan")
    with pytest.raises(ModelError, match="has values that are not finite"):
        bake(network)
