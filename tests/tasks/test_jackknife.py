from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.tasks.jackknife import pseudo_errors
from mpsearch.tasks.task import Task


def read(task: Task, outputs: Any, targets: Tensor, size: int) -> list[Any]:
    groups = []
    for start in range(0, len(targets), size):
        groups.append(task.meter())
        groups[-1].add(outputs[start : start + size], targets[start : start + size])
    return groups


def drawn(seed: int, n: int = 400) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, 2, generator=generator)
    return outputs, ((outputs[:, 1] - outputs[:, 0] + 2 * torch.randn(n, generator=generator)) > 1).long()


def test_of_a_mean_they_are_the_errors_of_the_groups() -> None:
    outputs, targets = drawn(0)
    task = Task.classification()
    found = pseudo_errors(task, read(task, outputs, targets, 25))
    wrong = (outputs.argmax(1) != targets).double().reshape(16, 25).mean(1)
    assert found == pytest.approx(wrong.tolist())


def rare_f1(outputs: Tensor, targets: Tensor) -> Tensor:
    found, true = outputs.argmax(1) == 1, targets == 1
    return 2 * (found & true).sum() / (found.sum() + true.sum()).clamp_min(1)


@pytest.mark.parametrize(
    "task",
    [
        Task.custom(loss=F.cross_entropy, metric=metrics.roc_auc_score),
        Task.custom(loss=F.cross_entropy, metric=rare_f1, higher_is_better=True),
    ],
)
def test_their_standard_error_is_the_spread_over_other_samples(task: Task) -> None:
    """What each draw of samples says of itself, beside how the metric really moves from draw to draw."""
    said, values = [], []
    for seed in range(40):
        outputs, targets = drawn(seed)
        groups = read(task, outputs, targets, 40)
        said.append(statistics.stdev(pseudo_errors(task, groups)) / math.sqrt(len(groups)))
        meter = task.meter()
        meter.add(outputs, targets)
        values.append(meter.value())
    assert statistics.mean(said) == pytest.approx(statistics.stdev(values), rel=0.3)


def test_segments_and_few_groups() -> None:
    task = Task.segmentation()
    outputs, targets = torch.randn(6, 3, 2, 2), torch.arange(24).reshape(6, 2, 2) % 3
    assert len(pseudo_errors(task, read(task, outputs, targets, 2))) == 3
    whole = task.meter()
    whole.add(outputs, targets)
    assert pseudo_errors(task, read(task, outputs, targets, 6)) == [task.error(whole.value())]
    assert pseudo_errors(task, []) == []


def test_a_metric_that_is_now_a_number_and_now_one_per_sample() -> None:
    task = Task.custom(loss=F.mse_loss, metric=lambda o, t: o if len(o) == 2 else o.mean(), metric_name="m")
    with pytest.raises(DataError, match="one number here and one for each sample there"):
        pseudo_errors(task, read(task, torch.randn(5), torch.randn(5), 2))
