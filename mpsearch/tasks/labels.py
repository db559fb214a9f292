"""Checks that targets are what a task expects of them."""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.core.errors import DataError, ModelError
from mpsearch.tasks.likelihood import one_logit

__all__ = ["check_class_scores", "check_multi_label", "check_segments", "check_targets"]

_OTHERWISE = "for other targets pass task=Task.regression(), Task.multi_label(), Task.segmentation() or Task.custom(loss=…, metric=…)"


def check_targets(targets: Tensor, classes: int, *, ignore_index: int | None = None) -> Tensor:
    """Check that targets are class indices in [0, classes), and return them.

    Args:
        targets: int `[N, …]`.
        classes: number of the model's outputs.
        ignore_index: another label that is allowed.

    Raises:
        DataError: targets are not integers, or one is outside the range; the message names its position.
    """
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise DataError(f"class labels must be whole numbers, these are {targets.dtype}; convert them, or {_OTHERWISE}")
    known = torch.ones_like(targets, dtype=torch.bool) if ignore_index is None else targets != ignore_index
    outside = (((targets < 0) | (targets >= classes)) & known).nonzero()
    if len(outside):
        position = tuple(outside[0].tolist())
        raise DataError(
            f"label {int(targets[position])} at position {position[0]} is outside the {classes} classes 0 to {classes - 1}; "
            f"correct the labels, or give the model as many outputs as there are classes; {_OTHERWISE}"
        )
    return targets


def check_class_scores(scores: Tensor, targets: Tensor) -> None:
    """Check outputs and labels of classification.

    Args:
        scores: `[M, K]`, or one logit, `[M, 1]` or `[M]`; only their shape counts.
        targets: classes `[N]` of any samples; for one logit 0 and 1 of any type, `[N]` or `[N, 1]`.

    Raises:
        ModelError: the outputs are of another shape.
        DataError: the labels do not fit them.
    """
    if scores.dim() not in (1, 2):
        raise ModelError(
            f"classification needs outputs [samples, classes] or one logit [samples], the model gives {list(scores.shape)}; "
            f"change the model, or give the task as a loss and a metric: {_OTHERWISE}"
        )
    one = one_logit(scores) is not None
    if targets.dim() != 1 and not (one and targets.dim() == 2 and targets.shape[1] == 1):
        shape = list(targets.shape)
        raise DataError(
            f"class labels must be one number per sample, these are {shape}; squeeze them to {shape[:1]}"
            if targets.dim() == 2 and shape[1] == 1
            else f"class labels must be one number per sample, these are {shape}; {_OTHERWISE}"
        )
    if not one:
        check_targets(targets, scores.shape[1])
    elif not bool(((targets == 0) | (targets == 1)).all()):
        wrong = targets[(targets != 0) & (targets != 1)].reshape(-1)[0].item()
        raise DataError(
            f"one logit tells the labels 0 and 1 apart, but there is a label {wrong:g}; give the model an output for each class; "
            f"{_OTHERWISE}"
        )


def check_multi_label(scores: Tensor, targets: Tensor) -> None:
    """Check outputs `[M, K]` and targets `[N, K]` of 0 and 1.

    Raises:
        ModelError: the outputs are of another shape.
        DataError: the targets do not fit them.
    """
    if scores.dim() != 2:
        raise ModelError(
            f"multi-label needs outputs [samples, labels], the model gives {list(scores.shape)}; change the model, or {_OTHERWISE}"
        )
    if targets.shape[1:] != scores.shape[1:]:
        raise DataError(
            f"multi-label needs a 0 or 1 for each of the {scores.shape[1]} outputs, targets are {list(targets.shape)}; "
            "make them [samples, labels]"
        )
    if not bool(((targets == 0) | (targets == 1)).all()):
        wrong = targets[(targets != 0) & (targets != 1)].reshape(-1)[0].item()
        raise DataError(f"multi-label targets must be 0 or 1, there is {wrong:g}; correct them, or {_OTHERWISE}")


def check_segments(scores: Tensor, targets: Tensor, ignore_index: int) -> None:
    """Check outputs `[M, K, …]` and targets `[N, …]` of segmentation.

    Raises:
        ModelError: the outputs are of another shape.
        DataError: the targets do not fit them.
    """
    if scores.dim() < 3:
        raise ModelError(
            f"segmentation needs outputs [samples, classes, …], the model gives {list(scores.shape)}; change the model, or {_OTHERWISE}"
        )
    places = targets.squeeze(1) if targets.dim() == scores.dim() and targets.shape[1] == 1 else targets
    if places.shape[1:] != scores.shape[2:]:
        raise DataError(
            f"segmentation needs a class for each place, {list(scores.shape[2:])} in the outputs, targets are {list(targets.shape)}; "
            "let the model resize its outputs to the targets, or shrink the targets"
        )
    check_targets(targets, max(scores.shape[1], 2), ignore_index=ignore_index)
