from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.errors import DataError
from mpsearch.core.number_format import as_format
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def space_of(model: nn.Module, activations: tuple[int, ...] = (2, 4, 8, 32)) -> ResolvedSpace:
    return Space(name="t", weights=(1, 2, 3, 4, 8, 32), activations=activations).resolve(trace(model, torch.randn(16, 6)))


def test_more_bits_err_less_and_float_not_at_all(model: nn.Module) -> None:
    space, x = space_of(model), torch.randn(64, 6)
    calibration = Calibration.fit(model, space, [x])
    name, weight = space.names[0], model.get_parameter("0.weight").detach()
    errors = [float((calibration.weight(name, as_format(bits)) - weight).square().sum()) for bits in (1, 2, 3, 4, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == len(errors)
    assert errors[-1] == 0
    errors = [float((calibration.activation(name, as_format(bits), x) - x).square().sum()) for bits in (2, 4, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


def test_a_weight_takes_no_more_values_a_channel_than_its_bits_allow(model: nn.Module) -> None:
    calibration = Calibration.fit(model, space := space_of(model), [torch.randn(64, 6)])
    for bits in (1, 2, 3):
        quantized = calibration.weight(space.names[0], as_format(bits))
        assert quantized.shape == (8, 6)
        assert all(len(set(row.tolist())) <= 2**bits for row in quantized)
        assert calibration.weight_steps(space.names[0], as_format(bits)).shape == (8,)


def test_signs_are_those_that_were_seen(model: nn.Module) -> None:
    calibration = Calibration.fit(model, space := space_of(model), [torch.rand(64, 6) + 1])
    assert [calibration.signed(name) for name in space.names] == [False, False]
    calibration = Calibration.fit(model, space, [torch.randn(64, 6)])
    assert [calibration.signed(name) for name in space.names] == [True, False]


def test_the_model_is_left_as_it_was(model: nn.Module) -> None:
    model.train()
    Calibration.fit(model, space_of(model), [torch.randn(8, 6)])
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_batches_are_read_only_if_an_activation_is_quantized(model: nn.Module) -> None:
    weights_only = space_of(model, activations=(32,))
    assert Calibration.fit(model, weights_only, []).weight_steps(weights_only.names[0], as_format(4)).shape == (8,)
    with pytest.raises(DataError, match="needs at least one batch of training data"):
        Calibration.fit(model, space_of(model), [])
