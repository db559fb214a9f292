from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mpsearch.core.errors import DataError, ModelError
from mpsearch.tasks.task import Task
from mpsearch.tasks.tokens import IGNORED, NextToken, PerplexityMeter, mean_token_loss, next_tokens, token_losses

N, T, V = 4, 6, 7


def logits(seed: int = 0) -> Tensor:
    return torch.randn(N, T, V, generator=torch.Generator().manual_seed(seed))


def tokens() -> Tensor:
    found = torch.randint(V, (N, T), generator=torch.Generator().manual_seed(5))
    found[1, 3:] = IGNORED
    return found


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


@pytest.fixture(params=[1, 3 * V, 2**22], ids=["a token at a time", "chunks that do not divide", "all at once"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpsearch.tasks.tokens._CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
def test_losses_and_their_gradients_are_those_of_torch() -> None:
    ours, theirs = logits().requires_grad_(True), logits().requires_grad_(True)
    found = token_losses(ours, tokens())
    wanted = F.cross_entropy(theirs.mT, tokens(), reduction="none", ignore_index=IGNORED)
    assert torch.allclose(found, wanted, atol=1e-6)
    found.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.allclose(gradient(ours), gradient(theirs), atol=1e-6)


@pytest.mark.usefixtures("chunk")
def test_the_divergence_is_the_mean_over_positions_and_has_gradients() -> None:
    reference, outputs = logits(), logits(1).requires_grad_(True)
    found = NextToken().divergence(reference, outputs)
    wanted = F.kl_div(outputs.log_softmax(2), reference.log_softmax(2), log_target=True, reduction="none").sum(2).mean(1)
    assert torch.allclose(found, wanted, atol=1e-6)
    found.sum().backward()
    slope = (outputs.detach().softmax(2) - reference.softmax(2)) / T
    assert torch.allclose(gradient(outputs), slope, atol=1e-6)


@pytest.mark.usefixtures("chunk")
def test_tokens_are_drawn_from_the_distribution() -> None:
    shares = torch.tensor([0.6, 0.3, 0.1])
    drawn = NextToken().sample(shares.log().expand(2, 3000, 3), torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 3000)
    assert (drawn.flatten().bincount() / 6000).tolist() == pytest.approx(shares.tolist(), abs=0.03)


def test_perplexity_counts_all_tokens_alike_however_the_split_is_cut() -> None:
    task, every = Task.language_model(), []
    for cuts in ([N], [1, 1, 2], [3, 1]):
        first, second = task.meter(), task.meter()
        for number, (outputs, targets) in enumerate(zip(logits().split(cuts), tokens().split(cuts), strict=True)):
            (first if number % 2 else second).add(outputs, targets)
        first.join(second)
        every.append(first.value())
    mean = F.cross_entropy(logits().reshape(-1, V), tokens().reshape(-1), ignore_index=IGNORED)
    assert every == pytest.approx([math.exp(mean)] * 3, rel=1e-6)
    assert task.error(every[0]) == every[0], "lower is better"


def test_a_uniform_guess_has_as_much_perplexity_as_there_are_words() -> None:
    meter = Task.language_model().meter()
    meter.add(torch.zeros(N, T, V), tokens())
    assert meter.value() == pytest.approx(V)


def test_a_model_that_rules_out_a_token_has_infinite_perplexity_rather_than_an_overflow() -> None:
    meter = Task.language_model().meter()
    meter.add(torch.tensor([[[0.0, 1e6]]]), torch.tensor([[0]]))
    assert meter.value() == math.inf


def test_a_split_without_a_token_that_counts_is_refused() -> None:
    meter = PerplexityMeter(lambda outputs, targets: (outputs, targets))
    meter.add(logits(), torch.full((N, T), IGNORED))
    with pytest.raises(DataError, match="no token to predict"):
        meter.value()


def test_the_loss_averages_over_the_tokens_of_a_sample_and_then_over_samples() -> None:
    by_sample = [F.cross_entropy(each, wanted, ignore_index=IGNORED) for each, wanted in zip(logits(), tokens(), strict=True)]
    assert float(mean_token_loss(logits(), tokens())) == pytest.approx(float(torch.stack(by_sample).mean()))


def test_shifted_targets_are_the_inputs_and_score_the_same() -> None:
    sequence = torch.randint(V, (N, T + 1), generator=torch.Generator().manual_seed(6))
    outputs = torch.randn(N, T + 1, V, generator=torch.Generator().manual_seed(7))
    plain, shifted = Task.language_model(), Task.language_model(shift=True)
    assert float(shifted.loss(outputs, sequence)) == pytest.approx(float(plain.loss(outputs[:, :-1], sequence[:, 1:])))
    _, wanted = next_tokens(outputs, sequence, shift=True, output=None)
    assert wanted[:, -1].tolist() == [IGNORED] * N
    assert torch.equal(wanted[:, :-1], sequence[:, 1:])


def test_half_precision_logits_are_read_in_float32() -> None:
    found = token_losses(logits().bfloat16(), tokens())
    assert found.dtype == torch.float32
    assert torch.equal(found, token_losses(logits().bfloat16().float(), tokens()))


@pytest.mark.parametrize(
    ("outputs", "targets", "error", "message"),
    [
        (torch.zeros(2, V), tokens(), ModelError, r"needs logits \[samples, positions, words\], the model gives \[2, 7\]"),
        (torch.zeros(2, T, V), tokens()[:, 0], DataError, r"a token for each of the 6 positions, targets are \[4\]"),
        (torch.zeros(2, T, V), tokens()[:, 1:], DataError, r"targets are \[4, 5\]; give the tokens shifted by one"),
        (torch.zeros(2, T, V), tokens().float(), DataError, "must be whole numbers"),
        (torch.zeros(2, T, 3), tokens(), DataError, "outside the 3 classes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(outputs: Tensor, targets: Tensor, error: type[Exception], message: str) -> None:
    check = Task.language_model().check
    assert check is not None
    with pytest.raises(error, match=message) as caught:
        check(outputs, targets)
    assert "\n" not in str(caught.value)
