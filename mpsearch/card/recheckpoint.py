"""Flip T9: the same bits on another float checkpoint of the same architecture.

Garg, Jain, Lou, Nahmias, arXiv 2102.06366: results on different checkpoints cannot be compared, even if the architecture has the same name.
"""

from __future__ import annotations

from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import NA
from mpsearch.card.sections import Flip
from mpsearch.card.variants import Bench, Variant
from mpsearch.core.allocation import Allocation
from mpsearch.training.evaluate import evaluate

__all__ = ["recheckpointed"]

_WHAT = "another float checkpoint of the same architecture"


def recheckpointed(inputs: CardInputs, bench: Bench, allocation: Allocation) -> Flip:
    """T9 for an allocation: calibrated on the other checkpoint and scored by the same path."""
    other = inputs.other
    if other is None:
        note = "no second checkpoint was given; set model.other_weights"
        return Flip(toggle="T9", what=_WHAT, status="not run", metric_change=NA, cost_change={}, note=note)
    problem = bench.problem
    variant = Variant(allocation=allocation)
    before, after = (evaluate(p.model, bench.validation, p.task, device=p.device).metric for p in (problem, other))
    return Flip(
        toggle="T9",
        what=_WHAT,
        status="measured",
        metric_change=bench.on(other).score(variant).metric - bench.score(variant).metric,
        cost_change={},
        note=f"{problem.task.metric_name} before quantization: {after:.4f}, against {before:.4f} of the run's own checkpoint",
    )
