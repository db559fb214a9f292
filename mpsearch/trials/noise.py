"""The noise of a score: how far the validation error of a network, and the difference of two networks, would move with other samples.

A difference is measured on the same samples for both networks, which takes out what is hard or easy for both: two networks that disagree on
3 of 300 labels are told apart by those 3. The split is cut into groups of equal size, and what each contributes is a jackknife's
pseudo-value, so that a metric of the whole split has noise as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mpsearch.core.pass_counts import count
from mpsearch.network.inputs import call, to_device
from mpsearch.tasks.jackknife import pseudo_errors
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["group_errors", "standard_error"]

_GROUPS = 64


@torch.no_grad()
def group_errors(model: nn.Module, split: Split, task: Task, *, device: torch.device) -> Tensor:
    """What every group of samples contributes to the error, float64 `[G]`, G at most 64: of a mean over samples its own error.

    Args:
        model: in evaluation mode.
        split: in its own order, the same for every network.
        task: metric and error.
        device: of the model.
    """
    size = -(-len(split) // _GROUPS)
    groups = []
    for inputs, targets in split.batches(size):
        meter = task.meter()
        meter.add(call(model, to_device(inputs, device)), targets.to(device))
        groups.append(meter)
        count(scored=len(targets))
    return torch.tensor(pseudo_errors(task, groups), dtype=torch.float64)


def standard_error(errors: Tensor) -> float:
    """Standard error of the mean of group errors, or of their differences; infinite for a single group."""
    return float(errors.std() / math.sqrt(len(errors))) if len(errors) > 1 else math.inf
