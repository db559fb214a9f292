"""Searches end in a verified file for every kind of output, metric and stream, and the file gives back what the network returned."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import mpsearch
from mpsearch.core.errors import DataError
from mpsearch.core.nested import leaves
from mpsearch.tasks.task import Task
from tests.run.searches import small, vectors


class ModelOutput(OrderedDict[str, Any]):
    """Entries that are attributes as well, made by keywords alone, as Hugging Face's."""

    def __init__(self, **entries: Any) -> None:
        super().__init__()
        for name, entry in entries.items():
            self[name] = entry

    def __setitem__(self, name: str, entry: Any) -> None:
        super().__setitem__(name, entry)
        super().__setattr__(name, entry)


@dataclass
class Heads:
    features: Tensor
    scores: Tensor


class Net(nn.Module):
    """Two heads on one body; `answer` makes of them what is returned."""

    def __init__(self, answer: Any, outputs: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head, self.other, self.answer = nn.Linear(16, outputs), nn.Linear(16, 3), answer

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return self.answer(self.head(features), self.other(features))


def first_loss(outputs: Any, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.scores, targets) + 0.01 * outputs.features.square().mean()


ANSWERS: dict[str, tuple[Any, Task]] = {
    "tuple": (lambda a, b: (a, b), Task.classification()),
    "named": (lambda a, b: ModelOutput(hidden=b, logits=a), Task.classification()),
    "chosen": (lambda a, b: [b, {"it": a}], Task.classification(output=1)),
    "dataclass": (lambda a, b: Heads(b, a), Task.custom(loss=first_loss, metric=lambda o, t: (o.scores.argmax(1) == t).float())),
}
SIGNALS = ["fisher", "measured", "coverage", "hessian", "alq"]


@pytest.mark.parametrize("name", ANSWERS)
def test_structures_of_outputs(name: str, tmp_path: Path) -> None:
    answer, task = ANSWERS[name]
    torch.manual_seed(0)
    model = Net(answer).eval()
    result = small(tmp_path, model=model, task=task, signals=SIGNALS if name == "tuple" else ["fisher"])
    x, _ = vectors()
    with torch.no_grad():
        given, loaded = model(x), mpsearch.load(result.path, model=model)(x)
    assert type(given) is type(loaded)
    assert [tensor.shape for tensor in leaves(loaded)] == [tensor.shape for tensor in leaves(given)]
    assert result.summary.card


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (Task.classification(), lambda y: y),
        (Task.classification(), lambda y: y.float()),
        (Task.regression(), lambda y: y.float()),
        (Task.custom(loss=lambda o, t: F.binary_cross_entropy_with_logits(o, t.float()), metric=f1_score), lambda y: y),
    ],
)
def test_one_number_a_sample(task: Task, labels: Any, tmp_path: Path) -> None:
    x, y = vectors()
    data = TensorDataset(x[:160], labels(y)[:160]), TensorDataset(x[160:], labels(y)[160:])
    torch.manual_seed(0)
    model = Net(lambda a, b: a.squeeze(-1), outputs=1).eval()
    result = small(tmp_path, model=model, train=data[0], validation=DataLoader(data[1], batch_size=7), task=task)
    meter = task.meter()
    with torch.no_grad():
        meter.add(result.model(x[160:]), labels(y)[160:])
    assert result.summary.winner.score.metric == pytest.approx(meter.value(), rel=1e-5), "of the whole split, whatever the batches"


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        x, y = vectors()
        return ((x[i], y[i]) for i in itertools.cycle(range(160)))


def test_a_stream_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    loader = DataLoader(Endless(), batch_size=32)
    result = small(tmp_path, train=mpsearch.Stream(loader, samples=150))
    assert result.path.exists()
    monkeypatch.setattr("mpsearch.data.bounded._MOST_SAMPLES", 500)
    with pytest.raises(DataError, match=r"did not end within .* mpsearch.Stream\(loader, samples="):
        small(tmp_path, train=loader)


class Silent(nn.Sequential):
    def train(self, mode: bool = True) -> Any:
        """As many a user writes it."""
        super().train(mode)


def test_a_train_that_returns_nothing(tmp_path: Path) -> None:
    model = Silent(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model.eval()
    assert small(tmp_path, model=model, test=TensorDataset(*vectors())).summary.card
