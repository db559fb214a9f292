from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mpsearch.signals.probes.products import (
    conv_products,
    linear_by_gradient,
    linear_by_replay,
    replay_difference,
    unpadded,
    weight_products,
)
from tests.networks import Conv1D

CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Conv1d | nn.Conv2d], tuple[int, ...]]] = {
    "plain": (lambda: nn.Conv2d(3, 4, 3, padding=1), (6, 3, 7, 7)),
    "one pixel": (lambda: nn.Conv2d(3, 4, 3, padding=1), (6, 3, 1, 1)),
    "two pixels to one": (lambda: nn.Conv2d(3, 4, 5, stride=2, padding=2), (6, 3, 2, 1)),
    "nothing but padding": (lambda: nn.Conv2d(1, 2, 1, stride=4, padding=2), (6, 1, 2, 1)),
    "same": (lambda: nn.Conv2d(2, 2, 4, padding="same"), (6, 2, 3, 5)),
    "pointwise": (lambda: nn.Conv2d(3, 4, 1, bias=False), (6, 3, 5, 5)),
    "strided": (lambda: nn.Conv2d(3, 4, 3, stride=2), (6, 3, 8, 8)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (6, 4, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 8, (3, 2), padding=(1, 0), groups=4), (6, 4, 6, 6)),
    "dilated": (lambda: nn.Conv2d(2, 3, 3, dilation=(2, 1), padding=2, padding_mode="reflect"), (6, 2, 7, 7)),
    "one-dimensional": (lambda: nn.Conv1d(3, 4, 5, stride=3, padding=2), (6, 3, 17)),
    "one-dimensional, grouped": (lambda: nn.Conv1d(4, 4, 3, groups=4, dilation=2), (6, 4, 9)),
}


def _autograd(module: nn.Module, parameter: str, args: tuple[Tensor, ...], g: Tensor, deltas: Tensor, axis: int) -> Tensor:
    """`⟨δW_k, G_n⟩`, one sample after the other."""
    weight = module.get_parameter(parameter)
    rows = []
    for n in range(g.shape[axis]):
        output = module(*(x.narrow(axis, n, 1) for x in args))
        output = output[0] if isinstance(output, tuple) else output
        (gradient,) = torch.autograd.grad((output * g.narrow(axis, n, 1)).sum(), weight)
        rows.append((deltas * gradient).flatten(1).sum(1))
    return torch.stack(rows)


def _close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_windows_and_replay_of_a_convolution_equal_autograd(name: str, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    module, shape = CONVOLUTIONS[name][0](), CONVOLUTIONS[name][1]
    x = torch.randn(shape)
    if len(shape) == 4:
        x = x.to(memory_format=memory)
    g, deltas = torch.randn_like(module(x)), torch.randn(3, *module.weight.shape)
    expected = _autograd(module, "weight", (x,), g, deltas, 0)
    with torch.no_grad():
        _close(conv_products(module, x, g, deltas), expected)
        _close(replay_difference(module, "weight", (x,), {}, g, deltas, 0, 6), expected)
        _close(weight_products(module, "weight", (x,), {}, g, deltas, 0, 6), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_both_ways_through_a_linear_layer_on_tokens_equal_autograd(axis: int) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(5, 4), torch.randn(6, 6, 5)
    g, deltas = torch.randn(6, 6, 4), torch.randn(3, 4, 5)
    expected = _autograd(module, "weight", (x,), g, deltas, axis)
    rows, slopes = x.movedim(axis, 0), g.movedim(axis, 0)
    _close(linear_by_gradient(rows, slopes, deltas), expected)
    _close(linear_by_replay(rows, slopes, deltas), expected)
    _close(weight_products(module, "weight", (x,), {}, g, deltas, axis, 6), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_transposed_linear_layer_equals_autograd(axis: int) -> None:
    torch.manual_seed(0)
    module, x = Conv1D(4, 5), torch.randn(6, 6, 5)
    g, deltas = torch.randn(6, 6, 4), torch.randn(3, 5, 4)
    _close(weight_products(module, "weight", (x,), {}, g, deltas, axis, 6), _autograd(module, "weight", (x,), g, deltas, axis))


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), torch.randn(5, 4, 6)),
        (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1), torch.randn(5, 3, 4, 4)),
        (nn.Conv3d(2, 3, 2), torch.randn(5, 2, 4, 4, 4)),
        (nn.Embedding(9, 4), torch.randint(9, (5, 7))),
        (nn.EmbeddingBag(9, 4, mode="sum"), torch.randint(9, (5, 7))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_replay_equals_autograd_where_the_weight_is_linear(module: nn.Module, x: Tensor) -> None:
    g = torch.randn_like(module(x))
    deltas = torch.randn(3, *module.get_parameter("weight").shape)
    _close(weight_products(module, "weight", (x,), {}, g, deltas, 0, 5), _autograd(module, "weight", (x,), g, deltas, 0))


@pytest.mark.parametrize("parameter", ["in_proj_weight", "out_proj.weight"])
def test_replay_of_attention_is_the_change_of_its_output(parameter: str) -> None:
    torch.manual_seed(0)
    module, x = nn.MultiheadAttention(8, 2).eval(), torch.randn(5, 6, 8)
    g = torch.randn(5, 6, 8)
    weight = module.get_parameter(parameter)
    deltas = 0.3 * torch.randn(2, *weight.shape)
    actual = weight_products(module, parameter, (x, x, x), {}, g, deltas, 1, 6)
    for k, delta in enumerate(deltas):
        before = module(x, x, x)[0]
        with torch.no_grad():
            weight.add_(delta)
            change = module(x, x, x)[0] - before
            weight.sub_(delta)
        _close(actual[:, k], (change * g).sum((0, 2)))
    small = 1e-3 * deltas
    slopes = _autograd(module, parameter, (x, x, x), g, small, 1)
    torch.testing.assert_close(
        weight_products(module, parameter, (x, x, x), {}, g, small, 1, 6), slopes, rtol=2e-2, atol=2e-2 * float(slopes.abs().max())
    )


def test_a_subclass_with_its_own_forward_is_replayed_as_it_is() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    torch.manual_seed(0)
    module, x, g, deltas = Doubled(5, 4), torch.randn(6, 5), torch.randn(6, 4), torch.randn(3, 4, 5)
    _close(weight_products(module, "weight", (x,), {}, g, deltas, 0, 6), _autograd(module, "weight", (x,), g, deltas, 0))


def test_pieces_of_a_sample_are_added_up() -> None:
    torch.manual_seed(0)
    module, x = nn.Conv2d(2, 3, 3), torch.randn(6, 2, 5, 5)
    g, deltas = torch.randn_like(module(x)), torch.randn(2, *module.weight.shape)
    alone = weight_products(module, "weight", (x,), {}, g, deltas, 0, 6)
    _close(weight_products(module, "weight", (x,), {}, g, deltas, 0, 3), alone.view(3, 2, 2).sum(1))


def test_dead_parts_of_a_kernel_are_left_out() -> None:
    x, deltas = torch.randn(6, 3, 1, 1), torch.randn(2, 4, 3, 3, 3)
    plain = unpadded(nn.Conv2d(3, 4, 3, padding=1), x, torch.randn(6, 4, 1, 1), deltas)
    assert plain.deltas.shape == (2, 4, 3, 1, 1)
    assert torch.equal(plain.x, x)
    circular = unpadded(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), x, torch.randn(6, 4, 1, 1), deltas)
    assert circular.deltas.shape == deltas.shape
