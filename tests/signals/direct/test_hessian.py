"""S4 of the sheet's section 7: Hutchinson on quadratics. The signal itself is checked where the Hessian is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.number_format import as_format
from mpsearch.signals import SignalInputs, compute_signal
from mpsearch.signals.direct import hessian
from mpsearch.signals.direct.hessian import probed_traces
from mpsearch.tasks.task import Task
from tests.networks import NETWORKS, trained_statistics
from tests.signals.brute import FLOAT, prepare
from tests.signals.zoo import Twice


def quadratic(matrix: Tensor, weights: list[Tensor]) -> Tensor:
    flat = torch.cat([weight.flatten() for weight in weights])
    return 0.5 * flat @ matrix @ flat


def symmetric(size: int, seed: int = 0) -> Tensor:
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    return root + root.t()


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape).requires_grad_() for shape in shapes]


def traces(loss: Tensor, weights: list[Tensor], probes: int, generator: torch.Generator) -> NDArray[np.float64]:
    return probed_traces(loss, weights, probes, generator).mean(0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-8, 8, width=32), min_size=7, max_size=7), st.integers(0, 99), st.integers(1, 3))
def test_a_diagonal_hessian_is_exact_whatever_the_probe(diagonal: list[float], seed: int, probes: int) -> None:
    weights = leaves((2, 2), (3,))
    found = traces(quadratic(torch.tensor(diagonal).diag(), weights), weights, probes, torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(found, [sum(diagonal[:4]), sum(diagonal[4:])], atol=1e-4)


def test_any_other_is_right_on_average_and_blocks_add_up() -> None:
    matrix, weights, probes = symmetric(7), leaves((2, 2), (3,)), 1500
    found = traces(quadratic(matrix, weights), weights, probes, torch.Generator().manual_seed(0))
    expected = np.array([float(matrix[:4, :4].trace()), float(matrix[4:, 4:].trace())])
    # v_lᵀ(Hv)_l has variance Σ_{i<j in l} (2 H_ij)² + Σ_{i in l, j not in l} H_ij².
    inside = [(matrix[part, part] - matrix[part, part].diag().diag()).square().sum() for part in (slice(4), slice(4, None))]
    deviation = np.sqrt([float(2 * own + matrix[:4, 4:].square().sum()) / probes for own in inside])
    assert (np.abs(found - expected) < 4 * deviation).all()
    joined = [torch.cat([weight.detach().flatten() for weight in weights]).requires_grad_()]
    whole = traces(quadratic(matrix, joined), joined, probes, torch.Generator().manual_seed(0))
    assert found.sum() == pytest.approx(whole[0], rel=1e-4)


def test_no_curvature_and_no_dependence_are_exactly_zero() -> None:
    weights = leaves((4,), (5,), (6,))
    loss = weights[0].sum() + weights[1].square().sum()
    np.testing.assert_array_equal(traces(loss, weights, 3, torch.Generator()), [0, 10, 0])


def test_a_layer_called_twice_is_curved_by_both_calls() -> None:
    torch.manual_seed(0)
    model, x, y = Twice(), torch.randn(6, 5), torch.randint(3, (6,))
    loss = Task.classification().loss
    found = traces(loss(model(x), y), [model.shared.weight], 1500, torch.Generator().manual_seed(0))

    def of_weight(flat: Tensor) -> Tensor:
        return loss(functional_call(model, {"shared.weight": flat.view(6, 6)}, x), y)

    exact = torch.autograd.functional.hessian(of_weight, model.shared.weight.detach().flatten())
    assert found[0] == pytest.approx(float(exact.trace()), rel=0.1)


def known(batches: int = 1) -> SignalInputs:
    """`y = W x` with one-hot x of size 3 and no error: the Hessian is 2 · 9/(8 · 4) times the identity and all of the loss."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 4, bias=False)), 3 * torch.eye(8)
    inputs = prepare(model, x, (1, 2, 4, FLOAT), task=Task.regression())
    cuts = [8] if batches == 1 else [6, 2]
    y = model(x).detach()
    return replace(inputs, batches=list(zip(x.split(cuts), y.split(cuts), strict=True)))


@pytest.mark.parametrize("batches", [1, 2])
def test_is_the_rise_of_the_loss_where_curvature_is_the_same_everywhere(batches: int) -> None:
    inputs = known(batches)
    table = hessian.hessian(inputs)
    for column, choice in enumerate(inputs.space.choices):
        changed = inputs.calibration.weight(inputs.space.names[0], choice.weight)
        rise = Task.regression().loss(3 * torch.eye(8) @ changed.t(), torch.cat([y for _, y in inputs.batches]))
        assert table.values[0, column] == pytest.approx(float(rise), rel=1e-4, abs=1e-9)
    assert table.cost["floored"] == 0


def test_probes_are_dealt_out_over_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "PROBES", 5)
    assert hessian.hessian(known(1)).cost["backwards"] == 1 + 2 * 5
    assert hessian.hessian(known(2)).cost["backwards"] == 1 + 2 * 3


def test_a_negative_trace_counts_as_zero_and_is_told() -> None:
    inputs = replace(known(), task=Task.custom(loss=lambda outputs, _: -outputs.square().mean()))
    table = hessian.hessian(inputs)
    assert table.values == pytest.approx(0, abs=1e-5)
    assert (table.values >= 0).all()
    assert table.cost["floored"] == 1


def test_no_trace_counts_as_less_than_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = known()
    estimates = np.array([[3.0], [-5.0], [1.0], [0.0]])
    monkeypatch.setattr(hessian, "probed_traces", lambda *_: estimates)
    monkeypatch.setattr(hessian, "PROBES", 4)
    name = inputs.space.names[0]
    changed = inputs.calibration.weight(name, as_format(2)) - inputs.calibration.weight(name, as_format(FLOAT))
    deviation = estimates.std() / 2
    expected = 0.5 * deviation / 32 * float(changed.square().sum())
    assert hessian.hessian(inputs).values[0, inputs.space.choices.index(Choice(2))] == pytest.approx(expected, rel=1e-5)


def test_activation_bits_are_not_priced() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(7, 6)
    table = compute_signal("hessian", prepare(model, x, (2, FLOAT), (3, FLOAT)))
    column = {choice: table.values[:, c] for c, choice in enumerate(table.choices)}
    np.testing.assert_array_equal(column[Choice(2, 3)], column[Choice(2)])
    assert (column[Choice(2)] > 0).all()
    assert (column[Choice(FLOAT, 3)] == 0).all()


def test_the_labels_are_the_true_ones() -> None:
    torch.manual_seed(0)
    # Bounded outputs: the curvature of tanh meets the residual, which the labels make.
    model, x = nn.Sequential(nn.Linear(6, 3), nn.Tanh()), torch.randn(7, 6)
    inputs = prepare(model, x, (2,))
    tables = [compute_signal("hessian", replace(inputs, batches=[(x, torch.full((7,), label))])) for label in (0, 1)]
    assert abs(tables[0].values - tables[1].values).max() > 1e-3 * tables[0].values.max()
    drawn = [compute_signal("hessian", replace(inputs, seed=seed)).values for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "PROBES", 8)
    torch.manual_seed(0)
    table = compute_signal("hessian", prepare(trained_statistics(NETWORKS[name][0]()), NETWORKS[name][1](), (2, 8)))
    assert (table.values[:, 0] > table.values[:, 1]).all()
    assert (table.values[:, 1] > 0).all()


class _Refusing(torch.autograd.Function):
    """The identity, whose derivative has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int) -> Tensor:
        ctx.order = order
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if ctx.order == 2:
            raise RuntimeError("no second derivative")
        return _Refusing.apply(gradients[0], 2), None


class Stubborn(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return _Refusing.apply(super().forward(x), 1)


def test_a_network_that_cannot_be_differentiated_twice_is_one_clear_line() -> None:
    model, x = nn.Sequential(nn.Linear(6, 4), Stubborn(4, 3)), torch.randn(7, 6)
    with pytest.raises(ModelError, match=r"differentiated twice \(no second derivative\); .* 'fisher'"):
        compute_signal("hessian", prepare(model, x, (2,)))
