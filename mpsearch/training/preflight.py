"""`preflight`: run one batch of every split through network, loss and metric, to find mismatches before any work starts."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import DataError, ModelError, UsageError
from mpsearch.data.base import Splits, check_split
from mpsearch.data.split import Split
from mpsearch.network.inputs import call, to_device
from mpsearch.tasks.outputs import all_finite, described
from mpsearch.tasks.task import Task
from mpsearch.training.evaluate import evaluate

__all__ = ["preflight"]

_SAMPLES = 64


@torch.no_grad()
def preflight(model: nn.Module, splits: Splits, device: torch.device, *, trained: bool, batch: int = 256) -> None:
    """Check that data, network and task match.

    Args:
        model: float network in evaluation mode.
        splits: train and validation are read; of the test split only targets are checked.
        device: device of the model.
        trained: whether the model is trained, so that its outputs must be finite.
        batch: samples at once, where a whole split is needed.

    Raises:
        DataError: a split is empty, a label is outside the classes, or loss or metric fail on the targets or give no number.
        ModelError: the forward pass fails, or its outputs are not class scores or not finite.
    """
    task = splits.task
    for what, split in (("training", splits.train), ("validation", splits.validation)):
        outputs, targets = _first(model, split, device, what)
        if task.check is not None:
            check_split(split, partial(task.check, outputs))
        _check_loss(task, outputs, targets, what)
        if all_finite(outputs):
            continue
        if trained:
            raise ModelError(f"the float network's outputs are not finite on the {what} data; check its weights and the inputs' scale")
        return
    if task.check is not None and splits.test is not None:
        check_split(splits.test, partial(task.check, outputs))
    _check_metric(model, splits.validation, task, outputs, targets, device, batch)


def _first(model: nn.Module, split: Split, device: torch.device, what: str) -> tuple[Any, Tensor]:
    for inputs, targets in split.batches(min(_SAMPLES, max(len(split), 1))):
        try:
            return call(model, to_device(inputs, device)), targets.to(device)
        except Exception as error:
            raise ModelError(
                f"the model's forward pass failed on a batch of the {what} data: {type(error).__name__}: {error}; "
                "make every split return the model's inputs"
            ) from error
    raise DataError(f"the {what} data contain no batch; lower the loader's batch size, or turn its drop_last off")


def _check_loss(task: Task, outputs: Any, targets: Tensor, what: str) -> None:
    against = f"on a batch of the {what} data, outputs {described(outputs)} against targets {list(targets.shape)}"
    try:
        loss = task.loss(outputs, targets)
    except UsageError:
        raise
    except Exception as error:  # the loss may be the user's
        raise DataError(f"the loss fails {against}: {type(error).__name__}: {_line(error)}; make them match") from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise DataError(f"the loss gives {shape} {against}, where a tensor of one number is needed; let it return the mean over samples")


def _check_metric(model: nn.Module, split: Split, task: Task, outputs: Any, targets: Tensor, device: torch.device, batch: int) -> None:
    """Compute the metric of a batch; of the whole split if that gives no number, since a batch may lack, say, one of the classes."""
    if math.isfinite(_metric_of_batch(task, outputs, targets)):
        return
    try:
        value = evaluate(model, split, task, device=device, batch=batch).metric
    except UsageError:
        raise
    except Exception as error:  # the metric may be the user's
        raise DataError(
            f"the metric '{task.metric_name}' fails on the validation data, outputs {described(outputs)} against targets "
            f"{list(targets.shape)}: {type(error).__name__}: {_line(error)}; make them match"
        ) from error
    if not math.isfinite(value):
        raise DataError(
            f"the metric '{task.metric_name}' of the float network on the validation data is {value}; give other data or another metric"
        )


def _metric_of_batch(task: Task, outputs: Any, targets: Tensor) -> float:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is undefined of a few samples is no news
            meter = task.meter()
            meter.add(outputs, targets)
            return meter.value()
    except Exception:  # the same error, if it is one, comes again on the whole split
        return math.nan


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
