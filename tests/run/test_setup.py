"""What a study names becomes a search problem; the network that was handed in stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.errors import BudgetError, ConfigError
from mpsearch.core.progress import Silent
from mpsearch.run.setup import assemble, build_setup, pick_device
from tests.run.tiny import digits_net, tiny_setup, tiny_study


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda:0' was asked for but torch sees no CUDA"):
            pick_device("cuda:0")


def drawn() -> nn.Module:
    """A factory whose weights come from torch's generator."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_a_factory_that_draws_its_weights_draws_the_same_each_time() -> None:
    """Else the same command could not go on: its weights would be others."""
    config = tiny_study(model={"factory": f"{__name__}:drawn"})
    first, second = (build_setup(config, Silent()).problem.model.state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = build_setup(tiny_study(model={"factory": f"{__name__}:drawn"}, seed=1), Silent()).problem.model.state_dict()
    assert not torch.equal(first["1.weight"], other["1.weight"])


def test_the_given_network_is_not_changed() -> None:
    config, model = tiny_study(), digits_net().train()
    problem = assemble(config, tiny_setup(config).splits, model, Silent()).problem
    assert problem.model is not model
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(problem.model.parameters(), digits_net().parameters(), strict=True))


def test_a_budget_out_of_reach_is_refused_unless_nothing_is_searched() -> None:
    config = tiny_study(budgets=["10B"])
    with pytest.raises(BudgetError):
        build_setup(config, Silent())
    assert build_setup(config, Silent(), check_limits=False).problem.budgets[0].limit == 10


def test_costs_count_the_largest_file_of_all_choices_of_a_method() -> None:
    one, all_grids = (tiny_setup(tiny_study(methods={"lsq": {"grid": grid}})).problem for grid in ("half", ["twos", "narrow", "half"]))
    lowest = one.space.uniform(one.space.choices[0])
    assert one.amounts(lowest)["size"] <= all_grids.amounts(lowest)["size"]
