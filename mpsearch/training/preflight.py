"""`preflight`: run one batch of every split through network, loss and metric, to find mismatches before any work starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.core.errors import DataError, ModelError
from mpsearch.data.base import Splits, check_split
from mpsearch.data.split import Split
from mpsearch.network.inputs import call, to_device
from mpsearch.tasks.task import Task

__all__ = ["preflight"]

_SAMPLES = 64


@torch.no_grad()
def preflight(model: nn.Module, splits: Splits, device: torch.device, *, trained: bool) -> None:
    """Check that data, network and task match.

    Args:
        model: float network in evaluation mode.
        splits: train and validation are read; of the test split only class labels are checked.
        device: device of the model.
        trained: whether the model is trained, so that its outputs must be finite.

    Raises:
        DataError: a split is empty, a label is outside the classes, or loss or metric fail on the targets.
        ModelError: the forward pass fails, or its outputs are not class scores or not finite.
    """
    task = splits.task
    for what, split in (("training", splits.train), ("validation", splits.validation)):
        outputs, targets = _first(model, split, device, what)
        if task.name == "classification":
            _check_classes(outputs, targets, split)
        _check_task(task, outputs, targets, what)
        if trained and not bool(torch.isfinite(outputs).all()):
            raise ModelError(f"the float network's outputs are not finite on the {what} data; check its weights and the inputs' scale")
    if task.name == "classification" and splits.test is not None:
        check_split(splits.test, outputs.shape[-1])


def _first(model: nn.Module, split: Split, device: torch.device, what: str) -> tuple[Tensor, Tensor]:
    for inputs, targets in split.batches(min(_SAMPLES, max(len(split), 1))):
        try:
            return call(model, to_device(inputs, device)), targets.to(device)
        except Exception as error:
            raise ModelError(
                f"the model's forward pass failed on a batch of the {what} data: {type(error).__name__}: {error}; "
                "make every split return the model's inputs"
            ) from error
    raise DataError(f"the {what} data contain no batch; lower the loader's batch size, or turn its drop_last off")


def _check_classes(outputs: Tensor, targets: Tensor, split: Split) -> None:
    if outputs.dim() != 2:
        raise ModelError(
            f"classification needs outputs [samples, classes], the model gives {list(outputs.shape)}; "
            "change the model, or give the task as a loss and a metric"
        )
    if targets.is_floating_point() or targets.dim() == 1:
        check_split(split, outputs.shape[-1])
    else:
        raise DataError(f"class labels must be one number per sample, these are {list(targets.shape)}; squeeze them to {[len(targets)]}")


def _check_task(task: Task, outputs: Tensor, targets: Tensor, what: str) -> None:
    try:
        task.loss(outputs, targets), task.per_sample(outputs, targets)
    except Exception as error:
        raise DataError(
            f"loss or metric fails on a batch of the {what} data, outputs {list(outputs.shape)} against targets {list(targets.shape)}: "
            f"{type(error).__name__}: {error}; make them match"
        ) from error
