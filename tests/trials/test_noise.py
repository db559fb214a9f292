"""Standard errors of scores are those of statistics, paired where two networks see the same samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task
from mpsearch.trials.noise import group_errors, standard_error


class Labelled(nn.Module):
    """Predicts the class that its input names."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x.long().squeeze(1), 2).float()


def errors(predicted: Tensor, labels: Tensor) -> Tensor:
    split = TensorSplit(predicted.float().unsqueeze(1), labels)
    return group_errors(Labelled(), split, Task.classification(), device=torch.device("cpu"))


def test_the_noise_of_an_accuracy_is_binomial() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(640, dtype=torch.int64)
    predicted = (torch.rand(640, generator=generator) < 0.2).long()
    found = errors(predicted, labels)
    share = float(predicted.float().mean())
    assert len(found) == 640 / 16
    assert float(found.mean()) == pytest.approx(share)
    assert standard_error(found) == pytest.approx(math.sqrt(share * (1 - share) / 640), rel=0.25)


def test_a_paired_difference_is_sharper_than_two_scores() -> None:
    labels = torch.randint(0, 2, (320,), generator=torch.Generator().manual_seed(1))
    one = labels.clone()
    one[:60] = 1 - one[:60]  # hard for both
    other = one.clone()
    other[100:104] = 1 - other[100:104]
    gain = errors(other, labels) - errors(one, labels)
    assert float(gain.mean()) == pytest.approx(4 / 320)
    assert standard_error(gain) < 0.6 * standard_error(errors(one, labels))


def test_a_metric_of_the_whole_split_has_noise() -> None:
    labels = torch.arange(256) % 2
    predicted = torch.where(torch.arange(256) % 5 == 0, 1 - labels, labels)
    task = Task.custom(
        loss=lambda outputs, targets: nn.functional.cross_entropy(outputs, targets),
        metric=lambda outputs, targets: float((outputs.argmax(1) == targets).float().mean()),  # a number: nothing is known of a sample
        higher_is_better=True,
    )
    split = TensorSplit(predicted.float().unsqueeze(1), labels)
    found = group_errors(Labelled(), split, task, device=torch.device("cpu"))
    assert len(found) == 64
    assert float(found.mean()) == pytest.approx(float((predicted == labels).float().mean()) * -1, abs=1e-6)
    assert standard_error(found) == pytest.approx(standard_error(errors(predicted, labels)), rel=1e-4)


def test_a_single_group_has_no_known_noise() -> None:
    assert standard_error(torch.tensor([0.5])) == math.inf
