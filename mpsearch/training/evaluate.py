"""`evaluate`: a network's score on a split, in float32 and contiguous memory, so that a loaded artifact reproduces it bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.core import pass_counts
from mpsearch.core.record import Score
from mpsearch.network.inputs import call, to_device
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, task: Task, *, device: torch.device, batch: int = 256) -> Score:
    """Mean loss over samples, and the task's metric and error of the split, in evaluation mode; the model's mode is restored."""
    was_training = model.training
    model.eval()
    samples, loss, meter = 0, 0.0, task.meter()
    try:
        for inputs, targets in split.batches(batch):
            outputs = call(model, to_device(inputs, device))
            targets = targets.to(device)
            count = len(targets)
            loss += float(task.loss(outputs, targets)) * count
            meter.add(outputs, targets)
            samples += count
            pass_counts.count(scored=count)
    finally:
        model.train(was_training)
    metric = meter.value()
    return Score(loss=loss / samples, error=task.error(metric), metric=metric)
