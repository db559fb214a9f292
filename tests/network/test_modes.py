from __future__ import annotations

import pytest
from torch import nn

from mpsearch.network.modes import modes_kept, temporarily


def test_each_module_gets_its_own_mode_back_also_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())).eval()
    model.get_submodule("1.0").train()
    before = [module.training for module in model.modules()]
    with modes_kept(model):
        model.train()
    assert [module.training for module in model.modules()] == before

    def fails() -> None:
        with modes_kept(model):
            model.train()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert [module.training for module in model.modules()] == before == [False, False, False, True, False]


def test_attributes_are_lent_to_a_block() -> None:
    layers = [nn.BatchNorm1d(2, momentum=0.5), nn.BatchNorm1d(2)]
    with temporarily(layers, "momentum", None):
        assert [layer.momentum for layer in layers] == [None, None]
    assert [layer.momentum for layer in layers] == [0.5, 0.1]
