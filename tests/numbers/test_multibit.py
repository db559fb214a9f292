"""Sums of sign vectors: sketches, nearest levels, fitted scales, scores and removal, each against brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.multibit import along, assign, code_of, fit, normalized, scores, sketch, values, weakest

seeds = st.integers(0, 10**6)
few = settings(max_examples=40, deadline=None)


def rows(seed: int, channels: int = 4, n: int = 40) -> Tensor:
    return torch.randn(channels, n, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) + 0.05


def planes(codes: Tensor, bases: int) -> Tensor:
    """Sign vectors `[C, I, n]`."""
    return torch.stack([((codes >> base) & 1).float() * 2 - 1 for base in range(bases)], 1)


def loss(codes: Tensor, alphas: Tensor, target: Tensor, curvature: Tensor) -> Tensor:
    return (curvature * (values(codes, alphas) - target).square()).sum(1)


def everywhere(alphas: Tensor) -> Tensor:
    return torch.ones_like(alphas, dtype=torch.bool)


@given(seed=seeds, bases=st.integers(1, 8))
@few
def test_values_are_signs_times_scales(seed: int, bases: int) -> None:
    codes = torch.randint(2**bases, (3, 17), generator=torch.Generator().manual_seed(seed)).to(torch.int16)
    alphas = uniform(seed, 3, bases)
    torch.testing.assert_close(values(codes, alphas), torch.einsum("cin,ci->cn", planes(codes, bases), alphas))


@given(seed=seeds)
@few
def test_gradient_of_scales_is_that_of_weights_times_signs(seed: int) -> None:
    codes, alphas = sketch(rows(seed), 3)
    alphas.requires_grad_()
    target = rows(seed + 7)
    weight = values(codes, alphas)
    (weight.sin() * target).sum().backward()
    expected = torch.einsum("cin,cn->ci", planes(codes, 3), weight.detach().cos() * target)
    torch.testing.assert_close(alphas.grad, expected, atol=1e-5, rtol=1e-5)


@given(seed=seeds)
@few
def test_sketch_leaves_less_with_every_base_and_nothing_along_its_signs(seed: int) -> None:
    w = rows(seed)
    left = [w.square().sum(1)]
    for bases in range(1, 9):
        codes, alphas = sketch(w, bases)
        residual = w - values(codes, alphas)
        assert (torch.einsum("cin,cn->ci", planes(codes, bases), residual).abs() <= 1e-4 * w.abs().sum(1, keepdim=True)).all()
        assert (alphas > 0).all()
        assert (alphas.diff(dim=1) <= 0).all()
        left.append(residual.square().sum(1))
        assert (left[-1] <= left[-2] * (1 + 1e-6)).all()


def test_sketch_of_what_is_such_a_sum_is_exact() -> None:
    signs = torch.randn(3, 4, 500, generator=torch.Generator().manual_seed(0)).sign()
    w = torch.einsum("cin,i->cn", signs, torch.tensor([8.0, 4.0, 2.0, 1.0]))
    codes, alphas = sketch(w, 8)
    assert ((w - values(codes, alphas)).square().sum(1) < 1e-6 * w.square().sum(1)).all()
    assert ((alphas > 0).sum(1) < 8).all()


def test_sketch_of_one_base_is_sign_and_mean_magnitude() -> None:
    w = rows(0)
    codes, alphas = sketch(w, 1)
    torch.testing.assert_close(alphas[:, 0], w.abs().mean(1))
    assert torch.equal(codes == 1, w >= 0)


def test_sketch_of_nothing_and_of_single_weights() -> None:
    codes, alphas = sketch(torch.tensor([[0.0, 0.0], [3.0, -1.0]]), 4)
    assert (alphas > 0).sum(1).tolist() == [0, 2]
    torch.testing.assert_close(values(codes, alphas), torch.tensor([[0.0, 0.0], [3.0, -1.0]]), atol=1e-5, rtol=0)
    codes, alphas = sketch(torch.tensor([[-2.0], [5.0]]), 8)
    assert (alphas > 0).sum(1).tolist() == [1, 1]
    torch.testing.assert_close(values(codes, alphas), torch.tensor([[-2.0], [5.0]]))


@given(seed=seeds, bases=st.integers(1, 4), duplicate=st.booleans())
@few
def test_assigned_level_is_the_nearest_of_all(seed: int, bases: int, duplicate: bool) -> None:
    alphas = uniform(seed, 4, bases)
    present = uniform(seed + 1, 4, bases) > 0.3
    alphas *= present
    if duplicate:
        alphas[0], present[0] = 0.5, True
    w = rows(seed) * 2
    codes = assign(w, alphas, present)
    every = torch.arange(2**bases, dtype=torch.int16).expand(4, -1)
    distances = (values(every, alphas).unsqueeze(2) - w.unsqueeze(1)).abs()
    torch.testing.assert_close((values(codes, alphas) - w).abs(), distances.amin(1))
    assert (codes & ~code_of(present) == 0).all()
    assert torch.equal(codes, assign(w, alphas, present))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_assigned_signs_are_the_best_of_all_sign_vectors(seed: int) -> None:
    """Every B of four weights and three bases at once: rows do not disturb each other."""
    w, curvature, alphas = rows(seed, 1, 4), uniform(seed, 1, 4), uniform(seed + 3, 1, 3)
    codes = assign(w, alphas, everywhere(alphas))
    every = torch.tensor(list(itertools.product(range(8), repeat=4)), dtype=torch.int16)
    losses = loss(every, alphas.expand(len(every), -1), w, curvature)
    torch.testing.assert_close(loss(codes, alphas, w, curvature)[0], losses.min())


@given(seed=seeds, bases=st.integers(1, 5))
@few
def test_fitted_scales_have_no_gradient_left(seed: int, bases: int) -> None:
    w, curvature = rows(seed), uniform(seed, 4, 40)
    codes, _ = sketch(w, bases)
    present = uniform(seed + 2, 4, bases) > 0.3
    alphas = fit(w, codes, present, curvature)
    assert (alphas[~present] == 0).all()
    slope = torch.einsum("cin,cn->ci", planes(codes, bases), curvature * (values(codes, alphas) - w))
    assert (slope[present].abs() <= 1e-4 * (curvature * w.abs()).sum(1).max()).all()


@given(seed=seeds)
@few
def test_steps_of_signs_and_of_scales_never_raise_the_loss(seed: int) -> None:
    w, curvature = rows(seed), uniform(seed, 4, 40)
    alphas = uniform(seed + 5, 4, 3)
    codes = assign(w, alphas, everywhere(alphas))
    last = loss(codes, alphas, w, curvature)
    for _ in range(4):
        fitted = fit(w, codes, everywhere(alphas), curvature)
        assert ((after := loss(codes, fitted, w, curvature)) <= last * (1 + 1e-5)).all()
        codes, alphas = normalized(codes, fitted)
        codes = assign(w, alphas, everywhere(alphas))
        assert ((last := loss(codes, alphas, w, curvature)) <= after * (1 + 1e-5)).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_fit_is_free_of_scale(scale: float) -> None:
    w, curvature = rows(3), uniform(3, 4, 40)
    codes, alphas = sketch(w, 3)
    fitted = fit(w, codes, alphas > 0, curvature)
    torch.testing.assert_close(fit(w * scale, codes, alphas > 0, curvature / scale), fitted * scale, rtol=1e-5, atol=0)


def test_fit_of_equal_bases_and_of_dead_weights_is_finite() -> None:
    codes = torch.tensor([[0, 3, 3], [0, 1, 2]], dtype=torch.int16)
    w = torch.tensor([[-1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    alphas = fit(w, codes, torch.ones(2, 2, dtype=torch.bool), torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    torch.testing.assert_close(values(codes, alphas)[0], w[0])
    assert torch.isfinite(alphas).all()


@given(seed=seeds, bases=st.integers(1, 8))
@few
def test_turning_a_base_with_its_scale_changes_nothing(seed: int, bases: int) -> None:
    codes = torch.randint(2**bases, (3, 17), generator=torch.Generator().manual_seed(seed)).to(torch.int16)
    alphas = rows(seed, 3, bases)
    turned, positive = normalized(codes, alphas)
    assert (positive >= 0).all()
    assert torch.equal(values(turned, positive), values(codes, alphas))


@given(seed=seeds)
@few
def test_score_is_what_the_model_loses(seed: int) -> None:
    """With curvature alone the sum over the weights is also the diagonal of BᵀHB."""
    codes, alphas = sketch(rows(seed), 3)
    gradient, curvature = rows(seed + 1), uniform(seed, 4, 40)
    found = scores(codes, alphas, gradient, curvature.sum(1, keepdim=True))
    for base, signs in enumerate(planes(codes, 3).unbind(1)):
        change = -alphas[:, base : base + 1] * signs
        model = (gradient * change).sum(1) + (curvature * change.square()).sum(1) / 2
        torch.testing.assert_close(found[:, base], model, atol=1e-4, rtol=1e-4)


@given(seed=seeds, bases=st.integers(1, 5))
@few
def test_sums_along_signs_are_products_with_the_sign_vectors(seed: int, bases: int) -> None:
    codes = torch.randint(2**bases, (4, 40), generator=torch.Generator().manual_seed(seed)).to(torch.int16)
    x = rows(seed)
    torch.testing.assert_close(along(codes, x, bases).float(), torch.einsum("cin,cn->ci", planes(codes, bases), x), atol=1e-5, rtol=1e-5)


def test_score_takes_a_curvature_for_every_base() -> None:
    codes, alphas = sketch(rows(0), 3)
    gradient, curvature = rows(1), uniform(2, 4, 3)
    slope = torch.einsum("cin,cn->ci", planes(codes, 3), gradient)
    torch.testing.assert_close(scores(codes, alphas, gradient, curvature), -slope * alphas + curvature * alphas.square() / 2)


@given(seed=seeds, share=st.floats(0, 1))
@few
def test_weakest_are_the_least_of_all_layers_that_are_there(seed: int, share: float) -> None:
    found = [rows(seed + layer, 3 + layer, 4) for layer in range(3)]
    present = [uniform(seed + 10 * layer, *found[layer].shape) > 0.4 for layer in range(3)]
    count = round(share * sum(int(held.sum()) for held in present))
    gone = weakest(found, present, [1, 1, 1], count)
    assert sum(int(mask.sum()) for mask in gone) == count
    assert all(not (mask & ~held).any() for mask, held in zip(gone, present, strict=True))
    removed = torch.cat([score[mask] for score, mask in zip(found, gone, strict=True)])
    kept = torch.cat([score[held & ~mask] for score, mask, held in zip(found, gone, present, strict=True)])
    assert count == 0 or len(kept) == 0 or removed.max() <= kept.min()


def test_removal_goes_on_until_the_surplus_is_gone() -> None:
    found = [torch.tensor([[1.0, 4.0]]), torch.tensor([[2.0, 3.0]])]
    present = [torch.ones(1, 2, dtype=torch.bool)] * 2

    def removed(surplus: float) -> list[list[bool]]:
        return [mask[0].tolist() for mask in weakest(found, present, [10, 1], surplus)]

    assert removed(0) == [[False, False], [False, False]]
    assert removed(10) == [[True, False], [False, False]]
    assert removed(10.5) == [[True, False], [True, False]]
    assert removed(12.5) == [[True, True], [True, True]]


def test_of_equal_scores_the_first_goes() -> None:
    (gone,) = weakest([torch.zeros(2, 3)], [torch.tensor([[False, True, True], [True, True, True]])], [1], 2)
    assert gone.tolist() == [[False, True, True], [False, False, False]]
