"""T8: a signal with other labels, and why it is not computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mpsearch.allocate.solve import solve
from mpsearch.card.inputs import CardInputs
from mpsearch.card.relabel import TrueLabels, relabelled
from mpsearch.card.variants import Bench, Variant
from mpsearch.core.table import Table
from mpsearch.signals import compute_signal
from mpsearch.signals.base import SignalInputs
from mpsearch.tasks.task import Task
from tests.card.runs import CALIBRATED


def fisher(inputs: CardInputs, task: Task) -> Table:
    problem = inputs.problem
    batches = list(problem.train.take(64, 0).batches(64))
    return compute_signal(
        "fisher", SignalInputs(model=problem.model, space=problem.space, calibration=problem.calibration, batches=batches, task=task)
    )


def test_the_signal_gets_the_true_labels(images: CardInputs) -> None:
    problem = images.problem
    drawn = fisher(images, problem.task)
    bench = Bench(problem, "twos", CALIBRATED)
    flip = relabelled(images, bench, [drawn])
    assert flip.status == "measured"
    assert flip.what == "true labels instead of those the network generates in signal 'fisher'"
    targets = [targets for _, targets in problem.train.take(64, 0).batches(64)]
    true = fisher(images, replace(problem.task, sample=TrueLabels(targets)))
    assert not np.allclose(true.values, drawn.values, equal_nan=True)
    scores = [
        bench.score(Variant(allocation=solve(problem.space, table, problem.costs, problem.budgets).allocation)).metric
        for table in (drawn, true)
    ]
    assert flip.metric_change == pytest.approx(scores[1] - scores[0])
    assert set(flip.cost_change) == set(problem.costs)


def test_without_labels_too_slow_or_impossible(images: CardInputs) -> None:
    table, bench = fisher(images, images.problem.task), Bench(images.problem, "twos", CALIBRATED)
    assert relabelled(images, bench, []).note == "no signal was computed"
    passive = replace(table, cost={**table.cost, "backwards": 0.0})
    assert relabelled(images, bench, [passive]).note == "no signal of this run differentiates a loss, so none uses labels"
    hasty = Bench(images.problem, "twos", CALIBRATED, limit=900.0)
    slow = relabelled(images, hasty, [replace(table, cost={**table.cost, "seconds": 999.0})])
    assert (slow.status, slow.metric_change) == ("not run", "n/a")
    assert slow.note == "the flips had taken a tenth of the run's time; --card full measures all"

    def refuse(outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("shapes differ\nsecond line")

    odd = replace(images, problem=replace(images.problem, task=replace(images.problem.task, sampled_loss=refuse)))
    assert relabelled(odd, bench, [table]).note == "signal 'fisher' cannot take other labels: shapes differ"


def test_true_labels_come_in_order_and_from_the_start_again() -> None:
    labels = TrueLabels([torch.tensor([1, 2, 3]), torch.tensor([4, 5])])
    generator = torch.Generator()
    assert labels(torch.zeros(2, 9), generator).tolist() == [1, 2]
    assert labels(torch.zeros(4, 9), generator).tolist() == [3, 4, 5, 1]
    assert labels.read == 6
