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
    winner, problem = summary.winner, inputs.problem
    split = "test" if "winner" in summary.test else "validation"
    score = summary.test["winner"] if split == "test" else None if winner is None else winner.score
    reference = summary.test.get("float") if split == "test" else summary.reference.scores["validation"]
    values = {} if score is None else {summary.seed: score.metric}
    mean, std = over_seeds(values) if values else (na("no result"), na("no result"))
    whole: Any = na("no test split")
    if split == "test" and inputs.splits.test is not None:
        whole = counts["test"].scored >= len(inputs.splits.test) * len(summary.test)
    return ResultSection(
        metric=summary.metric,
        split=split,
        mean=mean,
        std=std,
        by_seed={str(seed): value for seed, value in values.items()},
        delta_to_float=na() if score is None or reference is None else score.metric - reference.metric,
        full_split=whole,
        worst_class=_worst_class(inputs, network) if problem.task.name == "classification" else na("no classes"),
    )


@torch.no_grad()
def _worst_class(inputs: CardInputs, network: nn.Module) -> Any:
    """The lowest metric of any class on the validation split; the test split is read only once."""
    problem, names = inputs.problem, inputs.splits.classes
    sums: dict[int, tuple[float, int]] = {}
    for batch, targets in problem.validation.batches(256):
        values = problem.task.per_sample(call(network, to_device(batch, problem.device)), targets.to(problem.device))
        if values.shape != targets.shape or targets.dim() != 1:
            return na("labels are no classes")
        for label, value in zip(targets.tolist(), values.tolist(), strict=True):
            total, count = sums.get(int(label), (0.0, 0))
            sums[int(label)] = (total + value, count + 1)
    worst = min(sums, key=lambda label: sums[label][0] / sums[label][1])
    total, count = sums[worst]
    return {"class": names[worst] if worst < len(names) else worst, "metric": total / count, "samples": count, "split": "validation"}
