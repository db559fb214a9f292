"""T9 of the quantization card: the same bits on another float checkpoint of the same architecture.

Garg, Jain, Lou, Nahmias, arXiv 2102.06366: results on other checkpoints cannot be compared, even where the architecture has the same name.
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
    """T9 for an allocation: calibrated anew on the other checkpoint, scored like the one of the run."""
    other = inputs.other
    if other is None:
        note = "it needs a second checkpoint; model.other_weights names one"
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
        note=f"before quantization its {problem.task.metric_name} is {after:.4f}, that of the run's own {before:.4f}",
    )
