"""One differentiated attention gives what autograd gives for every weight, whatever the masks and the layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mpsearch.signals.probes.attention import projections
from mpsearch.signals.probes.products import linear_products

N, T, E, HEADS = 3, 5, 8, 2
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "sequences first": ({"batch_first": False}, {}),
    "no bias": ({"bias": False}, {}),
    "other widths": ({"kdim": 6, "vdim": 4}, {}),
    "causal": ({}, {"attn_mask": torch.ones(T, T).triu(1).bool(), "is_causal": True, "need_weights": False}),
    "a mask a head": ({}, {"attn_mask": torch.randn(N * HEADS, T, T, generator=torch.Generator().manual_seed(1))}),
    "padding": ({}, {"key_padding_mask": torch.arange(T) >= torch.tensor([5, 3, 4])[:, None]}),
}


def _call(name: str) -> tuple[nn.MultiheadAttention, list[Tensor], dict[str, Any]]:
    torch.manual_seed(0)
    made, given = CASES[name]
    module = nn.MultiheadAttention(E, HEADS, **{"batch_first": True, **made}).eval().requires_grad_(False)
    widths = (E, made.get("kdim", E), made.get("vdim", E))
    inputs = [torch.randn(N, T, width) for width in widths]
    if not made.get("batch_first", True):
        inputs = [x.transpose(0, 1) for x in inputs]
    return module, inputs, given


@pytest.mark.parametrize("name", CASES)
def test_equals_the_gradient_of_each_sample(name: str) -> None:
    module, inputs, given = _call(name)
    axis = 0 if module.batch_first else 1
    g = torch.randn(module(*inputs, **given)[0].shape)
    found = projections(module, inputs, given, g, axis, N)
    assert found is not None
    products: dict[str, Tensor] = {}
    for parameter, weight in module.named_parameters():
        if parameter.endswith("bias"):
            continue
        deltas = 0.1 * torch.randn(4, *weight.shape)
        products[parameter] = sum(
            (linear_products(each.x, each.g, deltas[:, each.rows]) for each in found if each.parameter == parameter), torch.zeros(N, 4)
        )
        for sample in range(N):
            leaf = weight.clone().requires_grad_()
            y = functional_call(module, {parameter: leaf}, tuple(inputs), given)[0]
            (y * g).select(axis, sample).sum().backward()
            assert leaf.grad is not None
            expected = (deltas * leaf.grad).flatten(1).sum(1)
            torch.testing.assert_close(products[parameter][sample], expected, rtol=1e-4, atol=1e-5)
    assert {each.parameter for each in found} == products.keys()


@pytest.mark.parametrize("made", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_attention_with_further_keys_is_left_to_others(made: dict[str, bool]) -> None:
    module = nn.MultiheadAttention(E, HEADS, batch_first=True, **made).eval()
    x = torch.randn(N, T, E)
    assert projections(module, (x, x, x), {}, torch.randn(N, T, E), 0, N) is None


def test_a_single_sequence_and_another_axis_are_left_to_others() -> None:
    module, x = nn.MultiheadAttention(E, HEADS).eval(), torch.randn(T, E)
    assert projections(module, (x, x, x), {}, torch.randn(T, E), 0, 1) is None
    y = torch.randn(T, N, E)
    assert projections(module, (y, y, y), {}, torch.randn(T, N, E), 0, T) is None


def test_a_subclass_with_its_own_forward_is_left_to_others() -> None:
    class Scaled(nn.MultiheadAttention):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().forward(*args, **kwargs)[0]

    x = torch.randn(N, T, E)
    assert projections(Scaled(E, HEADS, batch_first=True).eval(), (x, x, x), {}, torch.randn(N, T, E), 0, N) is None
