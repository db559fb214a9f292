"""What the delivered file scores (section J)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mpsearch.card.arithmetic import over_seeds
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import na
from mpsearch.card.sections import ResultSection
from mpsearch.core.pass_counts import PassCounts
from mpsearch.core.summary import Summary
from mpsearch.network.inputs import call, to_device

__all__ = ["result"]


def result(inputs: CardInputs, summary: Summary, network: nn.Module, counts: PassCounts) -> ResultSection:
    """Section J: of the test split if the run read it, else of the validation split.

    Args:
        inputs: the run.
        summary: its results.
        network: as delivered.
        counts: passes of the run.
    """
    scores = summary.test or {"winner": summary.winner.score, "float": summary.reference.scores["validation"]}
    metric, test = scores["winner"].metric, inputs.splits.test
    mean, std = over_seeds({summary.seed: metric})
    return ResultSection(
        metric=summary.metric,
        split="test" if summary.test else "validation",
        mean=mean,
        std=std,
        by_seed={str(summary.seed): metric},
        delta_to_float=metric - scores["float"].metric,
        full_split=na("no test split") if test is None else counts["test"].scored >= len(test) * len(scores),
        worst_class=_worst_class(inputs, network) if inputs.problem.task.name == "classification" else na("no classes"),
    )


@torch.no_grad()
def _worst_class(inputs: CardInputs, network: nn.Module) -> Any:
    """The lowest metric of any class on the validation split; the test split is read only once."""
    problem, names = inputs.problem, inputs.splits.classes
    sums: dict[int, tuple[float, int]] = {}
    for batch, targets in problem.validation.batches(problem.execution.batch):
        values = problem.task.per_sample(call(network, to_device(batch, problem.device)), targets.to(problem.device))
        if values is None or targets.numel() != len(targets):
            return na("labels are no classes")
        for label, value in zip(targets.reshape(-1).tolist(), values.tolist(), strict=True):
            total, count = sums.get(int(label), (0.0, 0))
            sums[int(label)] = (total + value, count + 1)
    worst = min(sums, key=lambda label: sums[label][0] / sums[label][1])
    total, count = sums[worst]
    return {"class": names[worst] if worst < len(names) else worst, "metric": total / count, "samples": count, "split": "validation"}
