"""What cannot work is said before the study begins."""

from __future__ import annotations

import pytest
import torch
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


def test_targets_that_the_loss_cannot_take() -> None:
    with pytest.raises(DataError, match=r"outputs \[20, 3\] against targets \[20, 2\]"):
        preflight(nn.Linear(6, 3), splits(TensorDataset(X, X[:, :2]), task=Task.regression()), CPU, trained=True)
