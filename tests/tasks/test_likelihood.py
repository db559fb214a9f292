"""The laws of a predictive distribution, for each of them and outputs of every shape."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mpsearch.tasks.likelihood import BERNOULLI, GAUSSIAN, Categorical, Likelihood, OneLogitOr, one_logit
from mpsearch.tasks.tokens import NextToken

CASES = [
    (Categorical(), (4, 3)),
    (Categorical(), (4, 3, 2, 5)),
    (BERNOULLI, (4,)),
    (BERNOULLI, (4, 3)),
    (GAUSSIAN, (4,)),
    (GAUSSIAN, (4, 3, 2)),
    (OneLogitOr(), (4,)),
    (OneLogitOr(), (4, 1)),
    (OneLogitOr(), (4, 1, 2, 5)),
    (OneLogitOr(), (4, 3)),
    (NextToken(), (4, 5, 3)),
]
IDS = [f"{type(kind).__name__} {list(shape)}" for kind, shape in CASES]


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_the_divergence_is_zero_where_outputs_agree_and_positive_elsewhere(kind: Likelihood, shape: tuple[int, ...]) -> None:
    reference, outputs = drawn(shape, 0), drawn(shape, 1)
    assert kind.divergence(reference, reference).tolist() == pytest.approx([0.0] * 4, abs=1e-6)
    apart = kind.divergence(reference, outputs)
    assert apart.shape == (4,)
    assert bool((apart > 0).all())


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=IDS)
def test_half_the_mean_square_of_the_sampled_slope_is_the_divergence(kind: Likelihood, shape: tuple[int, ...]) -> None:
    """The Fisher information is the curvature of the divergence; `fisher` rests on it."""
    draws = 4000
    reference, direction = drawn(shape, 0), drawn(shape, 1)
    outputs = reference.repeat(draws, *[1] * (len(shape) - 1)).requires_grad_(True)
    kind.sampled_loss(outputs, kind.sample(outputs, torch.Generator().manual_seed(2))).sum().backward()
    slopes = (outputs.grad.reshape(draws, *shape) * direction).reshape(draws, 4, -1).sum(2)
    small = 0.02
    curved = kind.divergence(reference, reference + small * direction) / small**2
    torch.testing.assert_close(slopes.square().mean(0) / 2, curved, rtol=0.12, atol=0.01)


def test_one_logit_is_two_classes_of_which_the_first_has_logit_zero() -> None:
    """The same distribution, told in two ways."""
    one, other = drawn((5, 1), 0), drawn((5, 1), 1)
    two, moved = (torch.cat([torch.zeros(5, 1), logits], 1) for logits in (one, other))
    kind = OneLogitOr()
    torch.testing.assert_close(kind.divergence(one, other), kind.divergence(two, moved))
    labels = torch.tensor([0, 1, 1, 0, 1])
    torch.testing.assert_close(kind.sampled_loss(one, labels), kind.sampled_loss(two, labels))
    many = one[:1].expand(20000, 1)
    share = float(kind.sample(many, torch.Generator().manual_seed(0)).float().mean())
    assert share == pytest.approx(1 / (1 + math.exp(-float(one[0, 0]))), abs=0.01)


def test_ignored_places_have_no_slope() -> None:
    for channels in (1, 3):
        outputs = drawn((2, channels, 3), 0).requires_grad_(True)
        OneLogitOr(Categorical(255)).sampled_loss(outputs, torch.tensor([[0, 255, 0], [255, 255, 255]])).sum().backward()
        assert outputs.grad is not None
        slopes = outputs.grad
        assert slopes[0, :, 1].tolist() == [0.0] * channels
        assert bool((slopes[0, :, 0] != 0).all())
        assert not bool(slopes[1].any())


def test_one_logit_is_told_by_the_shape() -> None:
    for shape, kept in (((3,), (3,)), ((3, 1), (3,)), ((3, 1, 4), (3, 4))):
        logits = one_logit(torch.zeros(shape))
        assert logits is not None
        assert logits.shape == kept
    assert one_logit(torch.zeros(3, 2)) is None
