"""The score of a delivered file: what its target's runtime computes, where that is not what torch computes."""

from __future__ import annotations

import torch

from mpsearch.core.record import Score
from mpsearch.data.split import Split
from mpsearch.run.artifact import Retrained
from mpsearch.run.setup import Setup
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.evaluator import Evaluator

__all__ = ["runtime_notes", "shipped_score"]

_CPU = torch.device("cpu")


def shipped_score(setup: Setup, evaluator: Evaluator, retrained: Retrained, split: Split) -> Score:
    """The score of a file on a split: its numbers in torch for exact targets, else the file in its runtime.

    Raises:
        ArtifactError: the runtime refuses the file.
    """
    running = None if setup.target.exact else setup.target.read(retrained.path).executed()
    if running is None:
        return evaluator.score_parts(retrained.parts, split)
    return evaluate(running, split, setup.problem.task, device=_CPU, batch=setup.problem.execution.batch)


def runtime_notes(setup: Setup, evaluator: Evaluator, winner: Retrained) -> tuple[str, ...]:
    """For targets that are not exact, one sentence on how far the runtime is from torch on the validation split, or that nobody knows."""
    if setup.target.exact:
        return ()
    if setup.target.read(winner.path).executed() is None:
        return (
            f"{winner.path.name} was not run: its runtime is not installed, and computes a little otherwise; scores are those of torch.",
        )
    task, validation = setup.problem.task, setup.problem.validation
    ours = evaluator.score_parts(winner.parts, validation).metric
    theirs = shipped_score(setup, evaluator, winner, validation).metric
    return (
        f"{winner.path.name} is not exact: on validation its {task.metric_name} is {theirs:.4f} in its runtime and {ours:.4f} in torch "
        f"({theirs - ours:+.4f}), by which the search compared; test scores are those of the runtime.",
    )
