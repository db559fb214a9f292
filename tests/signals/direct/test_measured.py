from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import as_format
from mpsearch.core.space import Space
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import keep_slow_attention
from mpsearch.network.trace import trace
from mpsearch.signals.base import SignalInputs
from mpsearch.signals.direct.measured import measured
from mpsearch.tasks.task import Task
from tests.networks import NETWORKS, trained_statistics
from tests.signals.brute import FLOAT, prepare
from tests.signals.zoo import ZOO

ALL = ZOO | {f"any: {name}": pair for name, pair in NETWORKS.items()}


@pytest.mark.parametrize("name", ALL)
def test_starting_late_changes_no_bit(name: str) -> None:
    torch.manual_seed(0)
    inputs = prepare(trained_statistics(ALL[name][0]()), ALL[name][1](), (1, 3, 8, FLOAT), (2, 8, FLOAT))
    np.testing.assert_array_equal(measured(inputs).values, measured(inputs, cached=False).values)


def test_starting_late_changes_no_bit_in_a_residual_network_with_in_place_operations() -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=4)
    inputs = prepare(trained_statistics(model), torch.randn(2, 3, 32, 32), (2, 8))
    np.testing.assert_array_equal(measured(inputs).values, measured(inputs, cached=False).values)


@pytest.mark.parametrize("name", ["attention", "attention, batch first", "tokens, tied", "called twice", "reached into", "depthwise"])
def test_is_the_divergence_of_a_network_with_one_weight_replaced(name: str) -> None:
    torch.manual_seed(0)
    model, x = trained_statistics(ALL[name][0]()), ALL[name][1]()
    inputs = prepare(model, x, (2, 8))
    table = measured(inputs)
    keep_slow_attention(model)
    with torch.no_grad():
        reference = model(x)
        for row, layer in enumerate(inputs.space.layers):
            for column, bits in enumerate((2, 8)):
                changed = copy.deepcopy(model)
                getattr(changed.get_submodule(layer.module), layer.parameter).copy_(inputs.calibration.weight(layer.name, as_format(bits)))
                expected = float(inputs.task.divergence(reference, changed(x)).mean())
                assert table.values[row, column] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert (table.values[:, 0] > 0).all()


@pytest.mark.parametrize("grid", ["twos", "half"])
def test_never_rises_with_more_bits_where_loss_is_the_squared_error(grid: str) -> None:
    """A network whose outputs are its weights; elsewhere steps of least squared error do not promise that the loss falls at every bit."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(40, 12, bias=False)), torch.eye(40)
    space = Space(name="s", weights=(1, 2, 3, 4, 5, 6, 7, 8)).resolve(trace(model, x))
    values = measured(
        SignalInputs(
            model=model,
            space=space,
            calibration=Calibration.fit(model, space, [x], grid),  # type: ignore[arg-type]
            batches=[(x, None)],
            task=Task.regression(),
        )
    ).values
    assert (np.diff(values, axis=1) <= 1e-6).all()
    assert (values[:, 0] > 1e-3).all()


def test_falls_with_more_bits(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    values = measured(prepare(trained_net, digits[0][:512], (2, 3, 4, 5, 6, 7, 8))).values
    assert (np.diff(values, axis=1) <= 1e-3 + 0.1 * values[:, :-1]).all()
    assert (values[:, -1] < 0.02 * values[:, 0]).all()


def test_small_menus_are_measured_jointly_and_large_ones_add_up(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    x = digits[0][:128]
    small = prepare(trained_net, x, (2, 4), (2, 4, FLOAT))
    joint = measured(small)
    # 2 × 3 choices in each of five layers, none of them all float, and the float pass.
    assert joint.cost["forwards"] == 1 + 5 * 6
    large = measured(prepare(trained_net, x, (2, 3, 4, 5, 6, FLOAT), (2, 4, FLOAT)))
    # Five weight widths alone and two activation widths alone.
    assert large.cost["forwards"] == 1 + 5 * 7
    for choice in (Choice(2), Choice(4)):
        np.testing.assert_array_equal(
            joint.values[:, joint.choices.index(choice)], large.values[:, large.choices.index(choice)], err_msg=str(choice)
        )
    column = {choice: large.values[:, c] for c, choice in enumerate(large.choices)}
    np.testing.assert_allclose(column[Choice(4, 2)], column[Choice(4)] + column[Choice(FLOAT, 2)])


def test_starting_late_saves_work(trained_net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    inputs = prepare(trained_net, digits[0][:64], (4,))
    runs = [0]

    class Counted(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            runs[0] += 1
            return super().forward(x)

    inputs.model.stem.__class__ = Counted
    try:
        measured(inputs)
        late = runs[0]
        measured(inputs, cached=False)
    finally:
        inputs.model.stem.__class__ = nn.Conv2d
    assert late == 2
    assert runs[0] - late == 1 + len(inputs.space.layers)
