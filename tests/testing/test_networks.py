from __future__ import annotations

import torch
from torch import nn

from mpsearch.testing.networks import Depthwise, trained_statistics


def test_the_example_network_has_what_methods_must_cope_with() -> None:
    model = Depthwise()
    assert {module.groups for module in model.modules() if isinstance(module, nn.Conv2d)} == {1, 2, 8}
    assert model(torch.randn(3, 1, 8, 8)).shape == (3, 10)


def test_statistics_are_those_of_a_trained_network_and_the_same_each_time() -> None:
    first, second = Depthwise(), Depthwise()
    norms = [trained_statistics(model).get_submodule("bn1").state_dict() for model in (first, second)]
    assert all(torch.equal(tensor, norms[1][key]) for key, tensor in norms[0].items())
    assert float(norms[0]["weight"].min()) < 0 < float(norms[0]["weight"].max())
    assert float(norms[0]["running_mean"].abs().max()) > 0
    assert not first.training
