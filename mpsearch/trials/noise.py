"""The noise of a score: how far the validation error of a network, and the difference of two networks, would move with other samples.

A difference is measured on the same samples for both networks, which takes out what is hard or easy for both: two networks that disagree on
3 of 300 labels are told apart by those 3. The split is cut into groups of equal size, so that a metric of a whole batch has noise as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mpsearch.core.pass_counts import count
from mpsearch.network.inputs import call, samples_of, to_device
from mpsearch.tasks.jackknife import pseudo_errors
from mpsearch.tasks.meters import Meter
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["group_errors", "standard_error"]

_GROUPS = 64


@torch.no_grad()
def group_errors(model: nn.Module, split: Split, task: Task, *, device: torch.device, batch: int = 256) -> Tensor:
    """What every group of samples contributes to the error, float64 `[G]`, see `mpsearch.tasks.jackknife.pseudo_errors`.

    For a mean over samples these are the errors of the groups, but for a smaller last group.

    The network sees the batches in which it is scored; a group has a power of two of samples, a 64th of the split or up to twice as many,
    and at most a batch.

    Args:
        model: in evaluation mode.
        split: in its own order, the same for every network.
        task: metric and error.
        device: of the model.
        batch: samples at once, a power of two.
    """
    size = min(2 ** max(math.ceil(math.log2(len(split) / _GROUPS)), 0), batch)
    groups: list[Meter] = []
    for inputs, targets in split.batches(batch):
        outputs, targets = call(model, to_device(inputs, device)), targets.to(device)
        for start in range(0, len(targets), size):
            rows = slice(start, start + size)
            groups.append(task.meter())
            groups[-1].add(samples_of(outputs, rows, len(targets)), targets[rows])
        count(scored=len(targets))
    return torch.tensor(pseudo_errors(task, groups), dtype=torch.float64)


def standard_error(errors: Tensor) -> float:
    """Standard error of the mean of group errors, or of their differences; infinite for a single group."""
    return float(errors.std() / math.sqrt(len(errors))) if len(errors) > 1 else math.inf
