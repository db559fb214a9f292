from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpsearch.network.unregistered import Unregistered


class Hidden(nn.Module):
    blocks: Any
    settings: Any
    apart: Any
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.known = nn.Linear(2, 2)
        self.same = [self.known.weight, self.known]
        self.register_buffer("table", torch.ones(3), persistent=False)
        self.blocks = [nn.Linear(2, 2), (nn.BatchNorm1d(2),)]
        self.settings = {"scale": torch.ones(2), "names": ["a"], "kind": nn.Linear}
        self.apart = SimpleNamespace(gain=nn.Parameter(torch.ones(4)))
        self.loop = [self]


def test_where_tensors_outside_the_state_stand() -> None:
    model = nn.Sequential(Hidden())
    found = Unregistered(model)
    hidden = cast(Hidden, model[0])
    assert found.place_of(hidden.blocks[0].weight) == "0.blocks[0].weight"
    assert found.place_of(hidden.blocks[0].weight.t()) == "0.blocks[0].weight"
    assert found.place_of(hidden.blocks[1][0].running_mean) == "0.blocks[1][0].running_mean"
    assert found.place_of(hidden.settings["scale"]) == "0.settings['scale']"
    assert found.place_of(hidden.apart.gain) == "0.apart.gain"


def test_what_is_registered_or_made_is_no_stranger() -> None:
    hidden = Hidden()
    found = Unregistered(hidden)
    for tensor in (hidden.known.weight, hidden.known.weight[0], hidden.table, torch.ones(2), torch.ones(2).to_sparse()):
        assert found.place_of(tensor) is None
    lstm = nn.LSTM(2, 2)
    assert Unregistered(lstm).place_of(lstm.get_parameter("weight_ih_l0")) is None
