"""What every task owes, whatever the shape of outputs and targets."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor, nn

from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.outputs import float_tensors, floats_mapped
from mpsearch.tasks.task import Task
from mpsearch.training.distill import distilled
from mpsearch.training.evaluate import evaluate
from mpsearch.training.recipe import Recipe

N = 24
CPU = torch.device("cpu")


@dataclass
class Both:
    features: Tensor
    logits: Tensor


def structured(kind: str, outputs: Tensor) -> Any:
    features = outputs.reshape(len(outputs), -1).cumsum(1)
    if kind == "tuple":
        return outputs, torch.arange(len(outputs)), features
    if kind == "dict":
        return OrderedDict(out=outputs, aux=(features, None))
    return Both(features, outputs)


def pairwise(outputs: Tensor, targets: Tensor) -> Tensor:
    """A ranking loss."""
    apart = (targets[:, None] > targets[None]).float()
    return (F.softplus(-(outputs[:, None] - outputs[None])) * apart).sum() / apart.sum().clamp_min(1)


def pairwise_of_first(outputs: Any, targets: Tensor) -> Tensor:
    return pairwise(float_tensors(outputs)[0], targets)


def mean_score(outputs: Any, targets: Tensor) -> float:
    return float(float_tensors(outputs)[0].mean())


CLASSES, BINARY, REAL = torch.arange(N) % 3, torch.arange(N) % 2, torch.randn(N, generator=torch.Generator().manual_seed(9))
PLACES = torch.where(torch.arange(N * 6).reshape(N, 2, 3) % 5 == 0, 255, torch.arange(N * 6).reshape(N, 2, 3) % 3)
TASKS: dict[str, tuple[Task, tuple[int, ...], Tensor]] = {
    "classification": (Task.classification(), (3,), CLASSES),
    "classification, smoothed": (Task.classification(label_smoothing=0.1), (3,), CLASSES),
    "one logit [N]": (Task.classification(), (), BINARY),
    "one logit [N, 1]": (Task.classification(label_smoothing=0.1), (1,), BINARY.float()),
    "one logit, targets [N, 1]": (Task.classification(), (1,), BINARY[:, None]),
    "regression [N]": (Task.regression(), (), REAL),
    "regression [N, 1] against [N]": (Task.regression(), (1,), REAL),
    "regression [N, 2, 3]": (Task.regression(), (2, 3), torch.randn(N, 2, 3)),
    "multi-label": (Task.multi_label(), (4,), (torch.arange(4 * N).reshape(N, 4) % 3 == 0).long()),
    "multi-label, accuracy": (Task.multi_label(metric="accuracy"), (4,), (torch.arange(4 * N).reshape(N, 4) % 3 == 0).float()),
    "segmentation": (Task.segmentation(), (3, 2, 3), PLACES),
    "segmentation, one logit": (Task.segmentation(ignore_index=2), (1, 2, 3), PLACES.clamp(max=2)[:, None]),
    "segmentation of volumes": (Task.segmentation(metric="pixel accuracy"), (3, 2, 3, 2), torch.arange(12 * N).reshape(N, 2, 3, 2) % 3),
    "language model": (Task.language_model(), (3, 5), torch.arange(3 * N).reshape(N, 3) % 5),
    "language model, shifted here": (Task.language_model(shift=True), (3, 5), torch.arange(3 * N).reshape(N, 3) % 5),
    "ranking": (Task.custom(loss=pairwise_of_first, metric=mean_score), (), REAL),
    "BCE, AUC": (
        Task.custom(loss=lambda o, t: F.binary_cross_entropy_with_logits(float_tensors(o)[0], t.float()), metric=metrics.roc_auc_score),
        (),
        BINARY,
    ),
}
EACH = pytest.mark.parametrize("name", TASKS)
KINDS = pytest.mark.parametrize("kind", ["tensor", "tuple", "dict", "dataclass"])


def case(name: str, kind: str, seed: int = 0) -> tuple[Task, Any, Tensor]:
    task, shape, targets = TASKS[name]
    outputs = torch.randn(N, *shape, generator=torch.Generator().manual_seed(seed))
    if kind == "dataclass" and task.name == "custom":
        return task, structured("tuple", outputs), targets
    return task, outputs if kind == "tensor" else structured(kind, outputs), targets


@EACH
@KINDS
def test_the_loss_is_finite_and_has_a_gradient(name: str, kind: str) -> None:
    task, outputs, targets = case(name, kind)
    outputs = floats_mapped(outputs, lambda tensor: tensor.requires_grad_(True))
    loss = task.loss(outputs, targets)
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    loss.backward()
    assert any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in float_tensors(outputs))


@EACH
@KINDS
def test_the_divergence_is_zero_where_outputs_agree_and_positive_elsewhere(name: str, kind: str) -> None:
    task, outputs, _ = case(name, kind)
    _, others, _ = case(name, kind, seed=1)
    assert task.divergence(outputs, outputs).tolist() == pytest.approx([0.0] * N, abs=1e-6)
    assert task.divergence(outputs, others).shape == (N,)
    assert bool((task.divergence(outputs, others) > 0).all())


@EACH
@KINDS
def test_sampled_targets_fit_their_loss_and_the_task_s(name: str, kind: str) -> None:
    task, outputs, targets = case(name, kind)
    sampled = task.sample(outputs, torch.Generator().manual_seed(0))
    losses = task.sampled_loss(outputs, sampled)
    assert losses.shape == (N,)
    assert bool(torch.isfinite(losses).all())
    assert task.sampled_loss(outputs, targets).shape == (N,), "the true targets stand in for sampled ones on the card"
    label = sampled[0] if isinstance(sampled, tuple) else sampled
    if name != "BCE, AUC":  # its divergence takes logits as numbers
        assert bool(torch.isfinite(task.loss(outputs, label)))


@EACH
@KINDS
def test_distillation_pulls_every_tensor_that_counts(name: str, kind: str) -> None:
    task, outputs, targets = case(name, kind)
    _, reference, _ = case(name, kind, seed=1)
    outputs = floats_mapped(outputs, lambda tensor: tensor.detach().clone().requires_grad_(True))
    distilled(task.loss, task.divergence, outputs, targets, reference, Recipe(distill=1.0, temperature=2.0)).backward()
    pulled = [tensor.grad is not None and bool(tensor.grad.any()) for tensor in float_tensors(outputs)]
    only = kind == "dataclass" and task.name != "custom"  # the entry `logits` is the prediction
    assert pulled == ([False, True] if only else [True] * len(pulled))


class Fixed(nn.Module):
    """Gives outputs by the number of the sample."""

    def __init__(self, outputs: Tensor, kind: str) -> None:
        super().__init__()
        self.outputs, self.kind = outputs, kind

    def forward(self, rows: Tensor) -> Any:
        outputs = self.outputs[rows]
        return outputs if self.kind == "tensor" else structured(self.kind, outputs)


@EACH
@pytest.mark.parametrize("kind", ["tensor", "tuple"])
def test_evaluation_does_not_depend_on_the_batch_size(name: str, kind: str) -> None:
    task, shape, targets = TASKS[name]
    model = Fixed(torch.randn(N, *shape, generator=torch.Generator().manual_seed(0)), kind)
    split = TensorSplit(torch.arange(N), targets)
    scores = [evaluate(model, split, task, device=CPU, batch=batch) for batch in (1, 5, N)]
    for score in scores[:-1]:
        assert score.metric == pytest.approx(scores[-1].metric, rel=1e-5)
        if name != "ranking":  # which pairs its loss sees depends on the batch
            assert score.loss == pytest.approx(scores[-1].loss, rel=1e-5)
    assert scores[-1].error == task.error(scores[-1].metric)


@EACH
def test_values_by_sample_have_the_metric_as_their_mean_or_are_none(name: str) -> None:
    task, outputs, targets = case(name, "tensor")
    values = task.per_sample(outputs, targets)
    meter = task.meter()
    meter.add(outputs, targets)
    if values is None:
        assert task.metric_name in ("mAP", "perplexity", "mIoU", "pixel accuracy", "mean_score", "roc_auc_score")
    else:
        assert values.shape == (N,)
        assert float(values.mean()) == pytest.approx(meter.value(), rel=1e-5)


@EACH
def test_what_the_task_checks_holds_here(name: str) -> None:
    task, outputs, targets = case(name, "tensor")
    if task.check is not None:
        task.check(outputs, targets)
