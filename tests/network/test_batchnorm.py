from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.batchnorm import BATCH_NORMS, fix_statistics, fold, folded_gain_and_bias, needs_float32, reestimate, running_norms
from mpsearch.network.trace import trace
from tests.networks import trained_statistics


class Own(nn.BatchNorm2d):
    """A subclass, as users write them."""


def test_norms_with_running_statistics_by_path() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(2), nn.Sequential(Own(3), nn.LayerNorm(3)), nn.BatchNorm3d(4, track_running_stats=False), nn.InstanceNorm2d(2)
    )
    assert set(running_norms(model)) == {"0", "1.0"}
    assert [path for path, module in model.named_modules() if isinstance(module, BATCH_NORMS)] == ["0", "1.0", "2"]


@pytest.mark.parametrize(
    ("offset", "gamma", "wide"),
    [(0.0, 1.0, False), (20.0, 1.0, False), (50.0, 1.0, True), (50.0, 0.0, False), (1.0, 1e-3, False)],
    ids=["ordinary", "within half precision", "far from zero", "a dead channel has only its own bias", "nearly constant beside others"],
)
def test_a_bias_far_beyond_its_channel_needs_float32(offset: float, gamma: float, wide: bool) -> None:
    model = trained_statistics(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).eval()
    norm: Any = model[1]
    with torch.no_grad():
        norm.weight.fill_(1.0)
        norm.weight[0] = gamma
        norm.running_mean[0] += offset * norm.running_var[0].sqrt()
    (layer,) = trace(model, torch.randn(5, 3))
    assert layer.wide == needs_float32(model, layer) == wide
    assert not needs_float32(model, replace(layer, norm=""))


@pytest.mark.parametrize("bias", [True, False])
def test_folding_leaves_the_outputs(bias: bool) -> None:
    torch.manual_seed(0)
    model = trained_statistics(nn.Sequential(nn.Conv2d(2, 4, 3, bias=bias), nn.BatchNorm2d(4))).eval()
    norm: Any = model[1]
    with torch.no_grad():
        norm.weight.uniform_(-2, 2)
        norm.bias.normal_()
    x = torch.randn(5, 2, 6, 6)
    (layer,) = trace(model, x)
    assert layer.norm == "1"
    folded = copy.deepcopy(model)
    with torch.no_grad():
        fold(folded, layer)
        assert isinstance(folded.get_submodule("1"), nn.Identity)
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
        gain, shift = folded_gain_and_bias(model, layer)
        torch.testing.assert_close(gain, norm.weight / (norm.running_var + norm.eps).sqrt())
        assert shift is not None
        convolved = nn.functional.conv2d(x, layer_weight(model))
        by_channel = (1, -1, 1, 1)
        torch.testing.assert_close(gain.view(by_channel) * convolved + shift.view(by_channel), model(x), rtol=1e-4, atol=1e-4)


def layer_weight(model: nn.Module) -> Tensor:
    weight: Tensor = model.get_submodule("0").weight  # type: ignore[assignment]
    return weight


def test_reestimated_statistics_are_the_mean_over_the_batches() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3, momentum=0.3)).train()
    batches = [torch.randn(8, 3), torch.randn(8, 3) + 5]
    reestimate(model, batches)
    torch.testing.assert_close(model[1].running_mean, torch.stack([x.mean(0) for x in batches]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([x.var(0) for x in batches]).mean(0))
    assert model[1].momentum == 0.3
    assert all(module.training for module in model.modules())


def test_a_last_batch_of_one_sample_is_skipped() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3)).eval()
    x = torch.randn(8, 3)
    reestimate(model, [x, torch.full((1, 3), 100.0)])
    torch.testing.assert_close(model[0].running_mean, x.mean(0))
    assert not model.training


def test_without_a_norm_no_pass_runs() -> None:
    def batches() -> Any:
        raise AssertionError("the batches were read")
        yield

    reestimate(nn.Linear(2, 2), batches())


def test_fixed_statistics_are_those_of_the_batch_and_serve_single_samples() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 5), nn.BatchNorm1d(5)).eval()
    x = torch.randn(32, 4)
    with torch.no_grad():
        wanted = model(x)
        fix_statistics(model, x)
        torch.testing.assert_close(torch.cat([model(one) for one in x.split(1)]), wanted)
