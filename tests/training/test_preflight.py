"""What cannot work is said before the study begins."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mpsearch.core.errors import DataError, ModelError
from mpsearch.data.base import Splits, as_split
from mpsearch.tasks.task import Task
from mpsearch.training.preflight import preflight

CPU = torch.device("cpu")
X, Y = torch.randn(20, 6), torch.arange(20) % 3


def splits(train: object, validation: object = None, task: Task | None = None) -> Splits:
    other = TensorDataset(X, Y) if validation is None else validation
    return Splits(name="mine", train=as_split(train), validation=as_split(other), task=task or Task.classification(), fingerprint="")


def test_what_fits_is_fine() -> None:
    preflight(nn.Linear(6, 3), splits(TensorDataset(X, Y.int())), CPU, trained=True)
    preflight(nn.Linear(6, 1), splits(TensorDataset(X, X[:, 0]), TensorDataset(X, X[:, :1]), Task.regression()), CPU, trained=True)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[:, :4], Y, "forward pass failed on a batch of the validation data"),
        (X, Y[:, None], r"one number per sample, these are \[20, 1\]; squeeze them to \[20\]"),
        (X, Y + 1, "label 3 at position 2 is outside"),
        (X, Y.float(), "whole numbers"),
        (X * float("nan"), Y, "not finite on the validation data"),
    ],
)
def test_data_that_do_not_fit(x: Tensor, y: Tensor, words: str) -> None:
    with pytest.raises((DataError, ModelError), match=words):
        preflight(nn.Linear(6, 3), splits(TensorDataset(X, Y), TensorDataset(x, y)), CPU, trained=True)


def test_an_untrained_network_may_explode() -> None:
    preflight(nn.Linear(6, 3), splits(TensorDataset(X * float("inf"), Y)), CPU, trained=False)


def test_a_loader_that_drops_everything() -> None:
    with pytest.raises(DataError, match=r"the validation data contain no batch; .*drop_last"):
        preflight(nn.Linear(6, 3), splits(TensorDataset(X, Y), DataLoader(TensorDataset(X, Y), 50, drop_last=True)), CPU, trained=True)


def test_outputs_that_are_no_class_scores() -> None:
    with pytest.raises(ModelError, match=r"gives \[20, 6, 3\]; change the model, or give the task"):
        preflight(nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Linear(1, 3)), splits(TensorDataset(X, Y)), CPU, trained=True)


@pytest.mark.parametrize("model", [nn.Linear(6, 1), nn.Sequential(nn.Linear(6, 1), nn.Flatten(0))])
def test_one_logit(model: nn.Module) -> None:
    for labels in (Y % 2, (Y % 2).float()):
        preflight(model, splits(TensorDataset(X, labels), TensorDataset(X, labels)), CPU, trained=True)
    with pytest.raises(DataError, match=r"one logit tells the labels 0 and 1 apart, but there is a label 2; .* Task.custom\(loss=…"):
        preflight(model, splits(TensorDataset(X, Y), TensorDataset(X, Y)), CPU, trained=True)


@pytest.mark.filterwarnings("ignore:Only one class is present")  # scikit-learn's own, about what we refuse
def test_a_metric_of_the_whole_split_needs_no_batch_of_its_own() -> None:
    """The first 64 labels are of one class, of which there is no correlation."""
    x, y = torch.randn(200, 6), (torch.arange(200) >= 100).long()
    task = Task.custom(loss=nn.functional.cross_entropy, metric=roc_auc_score)
    preflight(nn.Linear(6, 2), splits(TensorDataset(x, y), TensorDataset(x, y), task), CPU, trained=True)
    one_class = splits(TensorDataset(x, y), TensorDataset(x, 0 * y), task)
    with pytest.raises(DataError, match="roc_auc_score"):
        preflight(nn.Linear(6, 2), one_class, CPU, trained=True)


def test_metrics_that_give_no_number() -> None:
    loss = nn.functional.cross_entropy
    for metric, words in (
        (lambda o, t: o, r"the metric 'm' gives \[20, 3\] for 20 samples"),
        (lambda o, t: torch.tensor(float("nan")), "the metric 'm' of the float network on the validation data is nan"),
        (lambda o, t: 1 / 0, "the metric 'm' fails on 20 samples: ZeroDivisionError"),
    ):
        task = Task.custom(loss=loss, metric=metric, metric_name="m")
        with pytest.raises(DataError, match=words):
            preflight(nn.Linear(6, 3), splits(TensorDataset(X, Y), task=task), CPU, trained=True)


def test_a_loss_that_is_no_number() -> None:
    task = Task.custom(loss=lambda o, t: (o[:, 0] - t).square())
    with pytest.raises(DataError, match=r"the loss gives \[20\] on a batch of the training data.*return the mean over samples"):
        preflight(nn.Linear(6, 3), splits(TensorDataset(X, Y), task=task), CPU, trained=True)


def test_targets_that_the_loss_cannot_take() -> None:
    with pytest.raises(DataError, match=r"outputs \[20, 3\] against targets \[20, 2\]"):
        preflight(nn.Linear(6, 3), splits(TensorDataset(X, X[:, :2]), task=Task.regression()), CPU, trained=True)
