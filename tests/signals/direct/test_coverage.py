"""S8 of the sheet's section 7, on networks: completeness, the ends of the paths, order. The arithmetic is in `test_saturation`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import LayerMenu, Space
from mpsearch.methods.ste import Ste
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.signals import SignalInputs
from mpsearch.signals.base import private_copy
from mpsearch.signals.direct.coverage import coverage, shares
from mpsearch.signals.probes.quantization_path import QuantizationPath
from mpsearch.signals.probes.saturation import damage
from mpsearch.tasks.task import Task
from tests.networks import NETWORKS, trained_statistics
from tests.signals.brute import FLOAT, prepare
from tests.signals.zoo import ZOO

ALL = ZOO | {f"any: {name}": pair for name, pair in NETWORKS.items()}


def measured(inputs: SignalInputs, allocation: Allocation) -> float:
    network = Network(inputs.model, inputs.space, inputs.calibration, Ste(grid=inputs.calibration.style))
    network.begin(allocation)
    network.model.eval()
    with torch.no_grad():
        pairs = [(call(inputs.model, x), call(network.model, x)) for x, _ in inputs.batches]
    return float(torch.cat([inputs.task.divergence(reference, outputs) for reference, outputs in pairs]).mean())


@pytest.mark.parametrize("name", ALL)
def test_shares_add_up_to_the_damage(name: str) -> None:
    """Attention, embeddings, shared, tied and reached-into weights included."""
    torch.manual_seed(0)
    model, x = trained_statistics(ALL[name][0]()), ALL[name][1]()
    found = shares(prepare(model, x, (3,)), points=40)
    # Kinks of ReLU make the integrand jump; smooth networks are far below.
    assert found.values.sum() == pytest.approx(found.damages[0], rel=0.05)
    assert found.damages[0] > 0


def test_more_points_add_up_better(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    inputs = prepare(trained_net, digits[0][:256], (1, 2, 4))
    errors = [np.abs(found.values.sum(1) - found.damages) for found in (shares(inputs, points=points) for points in (1, 2, 32))]
    assert (errors[2] < 0.03 * shares(inputs, points=1).damages).all()
    assert errors[0].sum() > errors[1].sum() > errors[2].sum()


def test_slopes_are_those_of_each_layer_alone() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(9, 6)
    inputs = prepare(model, x, (2, FLOAT), (2, FLOAT))
    aims = {"0": Choice(2, 2), "2": Choice(FLOAT)}, {"0": Choice(FLOAT), "2": Choice(2)}
    with private_copy(model) as copied:
        path_of_network = QuantizationPath(copied, inputs.space, inputs.calibration)

        def loss_at(t: float) -> Tensor:
            path_of_network.go(t)
            return inputs.task.divergence(model(x).detach(), copied(x)).sum()

        for row, aim in enumerate(aims):
            path_of_network.aim(aim)
            difference = (loss_at(0.31).double() - loss_at(0.29).double()) / 0.02
            slopes = path_of_network.slopes(loss_at(0.3))
            assert slopes[row] == pytest.approx(float(difference.detach()), rel=1e-2)
            assert slopes[1 - row] == 0
        # Setting out leaves everything at float again.
        path_of_network.aim({"0": Choice(2, 2), "2": Choice(2, 2)})
        assert torch.equal(copied(x), model(x))


def test_ends_of_the_paths_are_reproduced(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    inputs = prepare(trained_net, digits[0][:256], (1, 2, 3, 4), (4, 8))
    table = coverage(inputs)
    for choice in inputs.space.choices:
        allocation = inputs.space.uniform(choice)
        predicted, true = damage(table.total(allocation), table.cost["ceiling"]), measured(inputs, allocation)
        # Only the running maximum over bits adds something, and nothing to the finest choice.
        assert true * 0.999 <= predicted <= true * (1.001 if choice == Choice(4, 8) else 1.2)
    assert table.cost["ceiling"] >= 1.3 * max(measured(inputs, inputs.space.uniform(choice)) for choice in inputs.space.choices)
    assert table.cost["forwards"] == 1 + 8 * 3
    assert table.cost["backwards"] == 8 * 2
    assert 0 <= table.cost["clipped"] < 0.2


def test_orders_allocations_as_their_damage_does(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    inputs = prepare(trained_net, digits[0][:256], (1, 2, 3, 4))
    table = coverage(inputs)
    random = np.random.default_rng(0)
    allocations = [Allocation({name: Choice(int(random.integers(1, 5))) for name in inputs.space.names}) for _ in range(30)]
    true = np.array([measured(inputs, allocation) for allocation in allocations])
    predicted = np.array([damage(table.total(allocation), table.cost["ceiling"]) for allocation in allocations])
    assert spearmanr(predicted, true)[0] > 0.9
    assert np.abs(np.log10(predicted / true)).mean() < 0.35


def test_more_bits_never_cost_more(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    table = coverage(prepare(trained_net, digits[0][:128], (1, 2, 3, 4, FLOAT), (2, 8, FLOAT)))
    for a, first in enumerate(table.choices):
        for b, second in enumerate(table.choices):
            if first.weight.bits <= second.weight.bits and first.activation.bits <= second.activation.bits:
                assert (table.values[:, a] >= table.values[:, b]).all()


def test_large_menus_add_up(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    table = coverage(prepare(trained_net, digits[0][:64], (2, 3, 4, 6, 8, FLOAT), (2, 4, FLOAT)))
    assert table.cost["forwards"] == 1 + (5 + 2) * 3
    column = {choice: table.values[:, c] for c, choice in enumerate(table.choices)}
    np.testing.assert_allclose(column[Choice(4, 2)], column[Choice(4)] + column[Choice(FLOAT, 2)])
    assert (column[Choice(FLOAT, 2)] > 0).all()


def test_a_layer_that_cannot_follow_counts_where_it_can() -> None:
    """Under each choice the others walk with the pinned layer where it is; its own value comes from the path to its pin."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)), torch.randn(32, 6)
    space = Space(name="t", weights=(1, 2, 3, 4), layers={"2": LayerMenu(weights=(2, 4))}, pins={"4": Choice(3)}).resolve(trace(model, x))
    calibration = Calibration.fit(model, space, [x])
    inputs = SignalInputs(model=model, space=space, calibration=calibration, batches=[(x, None)], task=Task.classification())
    found, table = shares(inputs), coverage(inputs)
    assert found.choices == tuple(Choice(bits) for bits in (1, 2, 3, 4))
    for choice, reached in zip(found.choices, found.damages, strict=True):
        assert reached == pytest.approx(measured(inputs, space.uniform(choice)), rel=1e-4)
    np.testing.assert_array_equal(np.isfinite(table.values), space.allowed)
    assert table.values[2, 2] > 0


def test_outputs_that_ignore_their_input_bound_the_ceiling_from_below(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    inputs = prepare(trained_net, digits[0][:128], (8,))
    outputs = trained_net(digits[0][:128]).detach()
    same = outputs.mean(0, keepdim=True).expand_as(outputs)
    assert coverage(inputs).cost["ceiling"] == pytest.approx(float(inputs.task.divergence(outputs, same).mean()), rel=1e-5)


def test_a_layer_that_stays_float_is_no_obstacle_to_many_choices() -> None:
    """More than sixteen choices are measured by weight and by activation; a layer with float alone has neither."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), torch.randn(9, 6)
    pinned = LayerMenu(weights=(FLOAT,), activations=(FLOAT,))
    space = Space(name="many", weights=(2, 3, 4, 5, 8), activations=(2, 3, 4, 8), layers={"2": pinned}).resolve(trace(model, x))
    inputs = prepare(model, x, (2,))
    table = coverage(replace(inputs, space=space, calibration=Calibration.fit(model, space, [x])))
    row = list(table.layers).index("2")
    assert np.nan_to_num(table.values[row]).sum() == 0
    assert all(np.nanmax(table.values[other]) > 0 for other in range(3) if other != row)
