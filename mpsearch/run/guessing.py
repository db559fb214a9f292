"""`guessing`: whether a float network says no more about its validation samples than an answer that is the same for all of them.

Then it is untrained, its weights belong to another network, or data and labels do not go together; bits would be searched by noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mpsearch.training.evaluate import evaluate

if TYPE_CHECKING:
    from mpsearch.trials.problem import Problem

__all__ = ["guessing"]

_SAMPLES = 512
_CLEAR = 3.0
"""Standard errors of a share by which an accuracy has to be above that of the guess."""


def guessing(problem: Problem) -> tuple[str, ...]:
    """A sentence if the float network is no better than a guess on at most 512 validation samples; none for tasks without a known guess.

    Nor is there one where the targets of batches differ in shape.

    Args:
        problem: float network, validation data, task.
    """
    task = problem.task
    if task.guess is None:
        return ()
    few = problem.validation.take(min(_SAMPLES, len(problem.validation)), problem.seed)
    parts = [targets.cpu() for _, targets in few.batches(problem.execution.batch)]
    if len({part.shape[1:] for part in parts}) > 1:  # sequences, padded batch by batch, have no answer in common
        return ()
    guess = task.guess(torch.cat(parts))
    found = evaluate(problem.model, few, task, device=problem.device, batch=problem.execution.batch)
    noise = _CLEAR * math.sqrt(guess * (1 - guess) / len(few)) if task.metric_name == "accuracy" else 0.0
    if found.error < task.error(guess) - noise:
        return ()
    return (
        f"The float network has {task.metric_name} {found.metric:.4g} on {len(few)} validation samples, and one answer for all of them "
        f"{guess:.4g}: is it trained? Give its weights (--weights FILE) or a float_recipe, and check that data and labels belong together.",
    )
