"""What every signal owes, run over whatever the registry finds.

Not tested, since not built: weight-wise diagonal Fisher (its correlations are what `fisher` keeps), pairwise interactions (K²L²/2 passes;
the search engine's product kernel learns them from trials), SQNR and activation distances, which stand in the benchmarks as baselines.
"""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import DataError, ModelError, UnknownNameError
from mpsearch.core.space import LayerMenu, Space
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.signals import SIGNALS, SignalInputs, compute_signal
from mpsearch.tasks.task import Task
from tests.networks import Depthwise, trained_statistics

every_signal = pytest.mark.parametrize("name", [name for name, signal in SIGNALS.items() if not signal.combines])
every_combining = pytest.mark.parametrize("name", [name for name, signal in SIGNALS.items() if signal.combines])
FLOAT = 32


def _inputs(model: nn.Module | None = None, **more: Any) -> SignalInputs:
    torch.manual_seed(0)
    model = trained_statistics(Depthwise()) if model is None else model
    x, y = torch.randn(12, 1, 8, 8), torch.randint(10, (12,))
    space = Space(
        name="test",
        weights=(1, 4, 8, FLOAT),
        activations=(4, 8, FLOAT),
        layers={"depth": LayerMenu(weights=(4, 8), activations=(FLOAT,))},
        pins={"head": Choice(8)},
    ).resolve(trace(model, x))
    calibration = Calibration.fit(model, space, [x])
    inputs = SignalInputs(
        model=model, space=space, calibration=calibration, batches=[(x[:8], y[:8]), (x[8:], y[8:])], task=Task.classification()
    )
    return replace(inputs, **more)


def test_the_registry_finds_the_files() -> None:
    assert {"alq", "bsq", "coverage", "dropbits", "fisher", "hessian", "learned_range", "measured", "pdq"} <= set(SIGNALS.names())


@pytest.mark.parametrize("name", SIGNALS.names())
def test_is_listed_with_its_paper(name: str) -> None:
    signal = SIGNALS[name]
    assert signal.name == name
    assert signal.paper
    assert signal.description
    assert "\n" not in signal.description


@every_signal
def test_table_has_the_shape_of_the_space(name: str) -> None:
    inputs = _inputs()
    table = compute_signal(name, inputs)
    assert table.name == name
    assert table.unit == "nats"
    assert table.layers == inputs.space.names
    assert table.choices == inputs.space.choices
    np.testing.assert_array_equal(np.isnan(table.values), ~inputs.space.allowed)
    assert (table.values[inputs.space.allowed] >= 0).all()
    assert table.cost["images"] == 12
    assert table.cost["seconds"] > 0
    assert table.cost["forwards"] >= 1
    assert table.cost["backwards"] >= 0


@every_signal
def test_float_is_free_and_one_bit_is_not(name: str) -> None:
    inputs = _inputs()
    table = compute_signal(name, inputs)
    column = {choice: table.values[:, c] for c, choice in enumerate(table.choices)}
    free, coarse = column[Choice(FLOAT)], column[Choice(1)]
    assert (free[~np.isnan(free)] == 0).all()
    assert (coarse[~np.isnan(coarse)] > 0).all()


@every_signal
def test_a_quantizer_that_changes_nothing_costs_nothing(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in (model[0], model[3]):
            layer.weight.copy_(0.25 * torch.sign(torch.randn_like(layer.weight)))
    x = torch.randn(6, 1, 6, 6)
    space = Space(name="test", weights=(1,)).resolve(trace(model, x))
    inputs = SignalInputs(
        model=model, space=space, calibration=Calibration.fit(model, space, [x]), batches=[(x, None)], task=Task.classification()
    )
    assert (compute_signal(name, inputs).values == 0).all()


@every_signal
def test_leaves_everything_as_it_was(name: str) -> None:
    model = trained_statistics(Depthwise())
    model.bn1.train()
    model.stem.weight.requires_grad_(False)
    inputs = _inputs(model)
    state = copy.deepcopy(model.state_dict())
    flags = [parameter.requires_grad for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks), sorted(module.__dict__)) for module in model.modules()]
    names = [path for path, _ in model.named_modules()]
    chance, numbers, grad = torch.get_rng_state(), random.getstate(), torch.is_grad_enabled()
    array = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    compute_signal(name, inputs)
    assert torch.equal(torch.get_rng_state(), chance)
    assert random.getstate() == numbers
    assert np.random.get_state()[1].tolist() == array  # type: ignore[index, union-attr]
    assert torch.is_grad_enabled() == grad
    assert [path for path, _ in model.named_modules()] == names
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks), sorted(m.__dict__)) for m in model.modules()] == hooks
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@every_signal
def test_same_seed_same_table_even_without_gradients(name: str) -> None:
    inputs = _inputs()
    first = compute_signal(name, inputs)
    with torch.no_grad():
        second = compute_signal(name, inputs)
    np.testing.assert_array_equal(first.values, second.values)


@every_signal
def test_progress_reaches_its_end(name: str) -> None:
    steps: list[tuple[int, int]] = []
    compute_signal(name, _inputs(progress=lambda done, total: steps.append((done, total))))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


@every_signal
def test_no_data_is_one_clear_line(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' needs at least one batch"):
        compute_signal(name, _inputs(batches=[]))


@every_signal
def test_a_network_that_gives_no_numbers_is_one_clear_line(name: str) -> None:
    inputs = _inputs()
    with torch.no_grad():
        inputs.model.get_submodule("head").bias[0] = torch.nan  # type: ignore[index]
    with pytest.raises(ModelError, match=r"(?i)finite"):
        compute_signal(name, inputs)


@every_combining
def test_a_combination_has_the_shape_of_its_parts(name: str) -> None:
    inputs = _inputs()
    parts = [compute_signal(part, inputs) for part in ("coverage", "fisher")]
    random = np.random.default_rng(0)
    menus = inputs.space.menus
    allocations = [
        Allocation({layer: menu[random.integers(len(menu))] for layer, menu in zip(inputs.space.names, menus, strict=True)})
        for _ in range(20)
    ]
    measured = [(allocation, parts[0].total(allocation) + 2 * parts[1].total(allocation)) for allocation in allocations]
    table = compute_signal(name, replace(inputs, tables=parts, measured=[pair for pair in measured if pair[1] > 0]))
    assert (table.name, table.unit, table.layers, table.choices) == (name, "nats", inputs.space.names, inputs.space.choices)
    np.testing.assert_array_equal(np.isnan(table.values), ~inputs.space.allowed)
    assert (table.values[inputs.space.allowed] >= 0).all()
    assert table.cost["seconds"] >= sum(part.cost["seconds"] for part in parts)
    assert table.cost["forwards"] >= 1


@every_combining
def test_a_combination_of_nothing_is_one_clear_line(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' weighs other signals"):
        compute_signal(name, _inputs())


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"coverage, .*fisher, hessian, .*measured"):
        compute_signal("hunch", _inputs())
