"""Flip T8: the bits a signal would have chosen with true labels instead of labels the network generates, or the other way round.

Only a signal that differentiates a loss uses labels. The cheapest such signal of the run is computed again with the other labels, the
allocation is solved again, and both allocations are scored by the same path, without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mpsearch.allocate.solve import solve
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import NA
from mpsearch.card.sections import Flip
from mpsearch.card.variants import OUT_OF_TIME, Bench, Variant
from mpsearch.core.table import Table
from mpsearch.network.inputs import call, to_device
from mpsearch.signals import SIGNALS, compute_signal
from mpsearch.signals.base import SignalInputs
from mpsearch.tasks.outputs import float_tensors

__all__ = ["TrueLabels", "relabelled"]

_WHAT = "labels inside the signal"


def relabelled(inputs: CardInputs, bench: Bench, tables: Sequence[Table]) -> Flip:
    """T8 for the run's signals."""
    candidates = [table for table in tables if table.cost.get("backwards", 0) and table.name in SIGNALS.names()]
    if not candidates:
        return _flip(NA, "no signal of this run differentiates a loss, so none uses labels" if tables else "no signal was computed")
    table = min(candidates, key=lambda table: table.cost.get("seconds", 0.0))
    if table.cost.get("seconds", 0.0) > bench.left:
        return _flip("not run", OUT_OF_TIME)
    try:
        return _measure(inputs, bench, table)
    except Exception as error:  # the labels of a custom task need not look like the network's predictions, and its loss is the user's
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return _flip("not run", f"signal '{table.name}' cannot take other labels: {reason}")


def _measure(inputs: CardInputs, bench: Bench, table: Table) -> Flip:
    problem = inputs.problem
    truthful = table.cost.get("labels", 0) > 0
    batches = _batches(inputs)
    task = problem.task
    if truthful:
        generator = torch.Generator(problem.device).manual_seed(problem.seed)
        with torch.no_grad():
            batches = [(inputs, _label(task.sample(call(problem.model, inputs), generator))) for inputs, _ in batches]
    else:
        true = TrueLabels([targets for _, targets in batches])
        task = replace(task, sample=true)
    other = compute_signal(
        table.name,
        SignalInputs(
            model=problem.model,
            space=problem.space,
            calibration=problem.calibration,
            batches=batches,
            task=task,
            seed=problem.seed,
            execution=problem.execution,
        ),
    )
    if not truthful and not true.read:
        return _flip(NA, f"signal '{table.name}' differentiates without labels")
    before, after = (solve(problem.space, signal, problem.costs, problem.budgets).allocation for signal in (table, other))
    moved = sum(before[name] != after[name] for name in before)
    change = bench.score(Variant(allocation=after)).metric - bench.score(Variant(allocation=before)).metric
    costs = [problem.amounts(allocation) for allocation in (before, after)]
    labels = "labels the network generates instead of true ones" if truthful else "true labels instead of those the network generates"
    return replace(
        _flip("measured", f"{moved} of {len(before)} layers change; both allocations are the signal's own optimum, not the delivered bits"),
        what=f"{labels} in signal '{table.name}'",
        metric_change=change,
        cost_change={name: costs[1][name] - costs[0][name] for name in problem.costs},
    )


def _label(sampled: Any) -> Any:
    """The target of the prediction, if other outputs have one as well."""
    return sampled[0] if isinstance(sampled, tuple) else sampled


class TrueLabels:
    """A stand-in for `Task.sample` that returns the true labels in the order of the samples.

    Args:
        targets: one `[B, …]` per batch.
    """

    def __init__(self, targets: Sequence[Tensor]) -> None:
        self._targets = torch.cat(list(targets))
        self.read = 0

    def __call__(self, outputs: Any, generator: torch.Generator) -> Tensor:
        """True labels `[N, …]` of the next N samples; after the last sample the first follows."""
        first = float_tensors(outputs)[0]
        rows = (torch.arange(len(first)) + self.read) % len(self._targets)
        self.read += len(first)
        return self._targets[rows.to(self._targets.device)].to(first.device)


def _batches(inputs: CardInputs) -> list[tuple[Any, Tensor]]:
    problem, signals = inputs.problem, inputs.config.signals
    images = problem.train.take(min(signals.images, len(problem.train)), inputs.config.seed)
    return [(to_device(inputs, problem.device), targets.to(problem.device)) for inputs, targets in images.batches(signals.batch_size)]


def _flip(status: str, note: str) -> Flip:
    return Flip(toggle="T8", what=_WHAT, status=status, metric_change=NA, cost_change={}, note=note)
