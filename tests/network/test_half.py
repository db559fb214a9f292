from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.network.canonical import canonical
from mpsearch.network.half import half_of, in_float32
from mpsearch.network.workarounds import workarounds


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_half_precision_model_is_computed_in_float32_on_a_copy(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).to(kind)
    name = str(kind).removeprefix("torch.")
    assert half_of(model) == (name,)
    assert workarounds(model) == (f"{name} parameters are computed in float32",)
    copied = canonical(model)
    assert {tensor.dtype for tensor in copied.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {kind}
    assert torch.equal(copied.get_parameter("0.weight"), model.get_parameter("0.weight").float())
    assert workarounds(copied) == ()


def test_other_models_are_left_as_they_are() -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("table", torch.zeros(2, dtype=torch.float16))
    assert in_float32(model) is model
    assert model.table.dtype == torch.float16
    assert half_of(model) == ()
