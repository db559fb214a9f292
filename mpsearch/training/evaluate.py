"""`evaluate`: a network's score on a split, in float32 and contiguous memory, so that a loaded artifact reproduces it bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.core import pass_counts
from mpsearch.core.record import Score
from mpsearch.network.inputs import batch_size, call, to_device
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, task: Task, *, device: torch.device, batch: int = 256) -> Score:
    """Mean loss, metric and error over the split, in evaluation mode; the model's mode is restored."""
    was_training = model.training
    model.eval()
    samples, loss, metric = 0, 0.0, 0.0
    try:
        for inputs, targets in split.batches(batch):
            outputs = call(model, to_device(inputs, device))
            targets = targets.to(device)
            count = batch_size(outputs)
            loss += float(task.loss(outputs, targets)) * count
            metric += float(task.per_sample(outputs, targets).double().sum())
            samples += count
            pass_counts.count(scored=count)
    finally:
        model.train(was_training)
    mean = metric / samples
    return Score(loss=loss / samples, error=task.error(mean), metric=mean)
