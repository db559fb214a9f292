"""Which parameters enter products, along which axes, how often: by the definition of each product, on shapes that tell the axes apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.network.watch import Product, Watch

N = 5
Forward = Callable[[Tensor, Tensor], Tensor]
CASES: dict[str, tuple[Forward, tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = {
    # product, shape of x, shape of the weight, axes of its outputs, multiply-accumulates
    "linear": (F.linear, (N, 3), (4, 3), (0,), N * 12),
    "linear, by name": (lambda x, w: F.linear(input=x, weight=w), (N, 3), (4, 3), (0,), N * 12),
    "matmul": (lambda x, w: x @ w, (N, 3), (3, 4), (1,), N * 12),
    "matmul, from the left": (lambda x, w: w @ x, (3, N), (4, 3), (0,), N * 12),
    "matmul, transposed": (lambda x, w: x @ w.t(), (N, 3), (4, 3), (0,), N * 12),
    "matmul, a copy": (lambda x, w: x @ w.t().contiguous(), (N, 3), (4, 3), (0,), N * 12),
    "matmul, by a vector": (torch.matmul, (N, 3), (3,), (), N * 3),
    "mv": (lambda x, w: torch.mv(w, x), (3,), (4, 3), (0,), 12),
    "batched": (torch.matmul, (2, N, 3), (2, 3, 4), (0, 2), 2 * N * 12),
    "bmm, expanded": (lambda x, w: torch.bmm(x, w.expand(2, 3, 4)), (2, N, 3), (3, 4), (1,), 2 * N * 12),
    "addmm": (lambda x, w: torch.addmm(torch.zeros(4), x, w), (N, 3), (3, 4), (1,), N * 12),
    "addmm, by name": (lambda x, w: torch.addmm(torch.zeros(4), mat1=x, mat2=w), (N, 3), (3, 4), (1,), N * 12),
    "baddbmm": (lambda x, w: torch.baddbmm(torch.zeros(4), x, w), (2, N, 3), (2, 3, 4), (0, 2), 2 * N * 12),
    "einsum": (lambda x, w: torch.einsum("ni,oi->no", x, w), (N, 3), (4, 3), (0,), N * 12),
    "einsum, implicit": (lambda x, w: torch.einsum("ni, oi", x, w), (N, 3), (4, 3), (0,), N * 12),
    "einsum, ellipsis": (lambda x, w: torch.einsum("...i,io->...o", x, w), (2, N, 3), (3, 4), (1,), 2 * N * 12),
    "einsum, by heads": (lambda x, w: torch.einsum("ni,hio->nho", x, w), (N, 3), (2, 3, 4), (0, 2), N * 24),
    "tensordot": (lambda x, w: torch.tensordot(x, w, 1), (N, 3), (3, 4), (1,), N * 12),
    "tensordot, axes": (lambda x, w: torch.tensordot(x, w, ([1], [-1])), (N, 3), (4, 3), (0,), N * 12),
    "inner": (torch.inner, (N, 3), (4, 3), (0,), N * 12),
    "conv1d": (F.conv1d, (N, 3, 8), (4, 3, 2), (0,), N * 7 * 24),
    "conv2d, grouped": (lambda x, w: F.conv2d(x, w, groups=2), (N, 4, 5, 5), (6, 2, 3, 3), (0,), N * 9 * 6 * 18),
    "transposed": (F.conv_transpose1d, (N, 3, 8), (3, 4, 2), (1,), N * 24 * 8),
    "bilinear": (lambda x, w: F.bilinear(x, x, w), (N, 3), (4, 3, 3), (0,), N * 36),
    "a view in parts": (lambda x, w: x @ w.view(3, 2, 4).flatten(1), (N, 3), (24,), (), N * 24),
    "split by heads": (lambda x, w: torch.einsum("ni,iho->nho", x, w.view(3, 2, 4)), (N, 3), (3, 8), (1,), N * 24),
    "one of a stack": (lambda x, w: x @ w[1], (N, 3), (2, 3, 4), (0, 2), N * 12),
    "scaled": (lambda x, w: F.linear(x, w * 0.5 + 1), (N, 3), (4, 3), (0,), N * 12),
    "joined": (lambda x, w: F.linear(x, torch.cat([w, torch.zeros(2, 3)])), (N, 3), (4, 3), (0,), N * 12),
    "stacked": (lambda x, w: F.linear(x, torch.stack([w])[0]), (N, 3), (4, 3), (0,), N * 12),
}


class Bare(nn.Module):
    def __init__(self, product: Forward, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.product, self.kernel = product, nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.kernel)


def watched(model: nn.Module, *x: Tensor) -> Watch:
    watch = Watch(model)
    with torch.no_grad(), watch:
        model(*x)
    return watch


def products(product: Forward, shape: tuple[int, ...], weight: tuple[int, ...]) -> list[Product]:
    model = Bare(product, weight)
    return watched(model, torch.randn(shape)).products.get(id(model.kernel), [])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_axes_and_multiplications(case: tuple[Forward, tuple[int, ...], tuple[int, ...], tuple[int, ...], int]) -> None:
    product, shape, weight, axes, macs = case
    (found,) = products(product, shape, weight)
    assert (found.axes, found.macs) == (axes, macs)
    assert found.inputs == torch.Size(shape).numel()


def test_looking_up_multiplies_nothing() -> None:
    model = Bare(lambda x, w: F.embedding(x.long(), w), (6, 4))
    (found,) = watched(model, torch.zeros(N)).products[id(model.kernel)]
    assert (found.operation, found.axes, found.macs) == ("embedding", (1,), 0)


def test_what_enters_no_product_is_only_used() -> None:
    for product in (lambda x, w: x + w, lambda x, w: x * w, lambda x, w: (x[:, None] * w[None]).sum(-1)):
        model = Bare(product, (4, 3))
        watch = watched(model, torch.randn(4, 3))
        assert not watch.products
        assert watch.used[id(model.kernel)]


def test_of_three_factors_the_multiplications_are_unknown() -> None:
    (found,) = products(lambda x, w: torch.einsum("ni,oi,no->no", x, w, torch.ones(N, 4)), (N, 3), (4, 3))
    assert found.macs is None


def test_a_factor_that_is_no_weight_counts_for_nothing() -> None:
    """Learned queries that a weight multiplies are its input."""
    model = Bare(lambda x, w: F.linear(w, x), (4, 3))
    assert not watched(model, torch.randn(5, 3)).products


def test_a_module_that_counts_by_itself_is_left_out() -> None:
    layer = nn.Linear(3, 4)
    watch = Watch(layer)
    watch.enter(layer)
    with torch.no_grad(), watch:
        layer(torch.randn(N, 3))
        watch.leave(layer)
        F.linear(torch.randn(N, 3), layer.weight)
    assert [product.macs for product in watch.products[id(layer.weight)]] == [N * 12]


def test_sparse_and_vectorised_tensors_pass() -> None:
    model = Bare(
        lambda x, w: torch.func.vmap(lambda row: row @ torch.ones(3, 2))(x) + torch.sparse.mm(x.to_sparse(), torch.ones(3, 2)), (2,)
    )
    watched(model, torch.randn(N, 3))
