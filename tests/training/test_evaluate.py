from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mpsearch.core.pass_counts import PassCounts
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task
from mpsearch.training.evaluate import evaluate

CPU = torch.device("cpu")
TASK = Task.classification()


def data() -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    return TensorSplit(torch.randn(103, 5, generator=generator), torch.randint(3, (103,), generator=generator))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.9), nn.BatchNorm1d(8), nn.Linear(8, 3))


def test_the_score_is_the_mean_over_samples_whatever_the_batches() -> None:
    model, split = network().eval(), data()
    with torch.no_grad():
        outputs = model(split.x)
    loss, accuracy = float(F.cross_entropy(outputs, split.y)), float((outputs.argmax(1) == split.y).float().mean())
    for batch in (7, 50, 1000):
        score = evaluate(model, split, TASK, device=CPU, batch=batch)
        assert score.loss == pytest.approx(loss, rel=1e-5)
        assert score.metric == pytest.approx(accuracy)
        assert score.error == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("training", [True, False])
def test_it_runs_in_evaluation_mode_and_restores_the_mode(training: bool) -> None:
    model = network().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert evaluate(model, data(), TASK, device=CPU) == evaluate(model, data(), TASK, device=CPU), "dropout would differ"
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_mode_is_restored_after_an_error() -> None:
    model = network().train()
    with pytest.raises(RuntimeError):
        evaluate(model, TensorSplit(torch.zeros(4, 6), torch.zeros(4, dtype=torch.long)), TASK, device=CPU)
    assert model.training


def test_samples_are_counted() -> None:
    counts = PassCounts()
    with counts.listening("study"):
        evaluate(network(), data(), TASK, device=CPU)
    assert (counts["study"].scored, counts["study"].backward) == (103, 0)
