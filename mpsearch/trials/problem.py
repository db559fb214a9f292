"""`Problem`: network, data, space, costs and budgets of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.allocate.solve import meets
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.statistics import REESTIMATED
from mpsearch.costs import COSTS, CostInputs, compute_costs
from mpsearch.costs.budgets import format_amount
from mpsearch.methods.base import Method
from mpsearch.network.calibrate import Calibration
from mpsearch.network.execution import Execution
from mpsearch.network.inputs import to_device
from mpsearch.signals.base import SignalInputs
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["Problem"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The search problem.

    Args:
        model: float network, on `device`, in evaluation mode; never changed.
        train: data for calibration, signals and training.
        validation: data for the scores of trials.
        task: loss and metric.
        space: layers and menus.
        costs: tables by name, at least those of the budgets. Costs that depend on stored formats are upper bounds over the study's methods.
        budgets: limits that must all hold.
        calibration: ranges.
        device: device of all computations.
        seed: seed of all random draws.
        cost_inputs: inputs for computing the costs of a single method; None if the space suffices.
        execution: how the network runs while it is trained.
        statistics: how the BatchNorm statistics of untrained allocations follow quantization, one of `mpsearch.core.statistics.WAYS`.
    """

    model: nn.Module
    train: Split
    validation: Split
    task: Task
    space: ResolvedSpace
    costs: Mapping[str, CostTable]
    budgets: Sequence[Budget]
    calibration: Calibration
    device: torch.device
    seed: int
    cost_inputs: CostInputs | None = None
    execution: Execution = field(default_factory=Execution)
    statistics: str = REESTIMATED

    def amounts(self, allocation: Allocation, method: Method | None = None) -> dict[str, float]:
        """Every cost of an allocation: exact for `method`; without a method, an upper bound over the methods of the study."""
        return {name: cost.total(allocation) for name, cost in self.costs_of(method).items()}

    def fits(self, allocation: Allocation, method: Method | None = None) -> bool:
        """Whether every budget holds for `method`; without a method, for all methods of the study."""
        return meets(allocation, self.costs_of(method), self.budgets)

    def excess(self, allocation: Allocation, method: Method | None = None) -> str:
        """The budgets an allocation exceeds, in their own units: `41,216 B, above the budget 40KB`; empty if all hold."""
        costs = self.costs_of(method)
        broken = [budget for budget in self.budgets if not meets(allocation, costs, [budget])]
        return " and ".join(f"{format_amount(b.cost, costs[b.cost].total(allocation))}, above the budget {b}" for b in broken)

    def signal_inputs(self, images: int, batch_size: int) -> SignalInputs:
        """The inputs of a signal: at most `images` fixed, unaugmented training images with their targets, on the device."""
        taken = self.train.take(min(images, len(self.train)), self.seed)
        return SignalInputs(
            model=self.model,
            space=self.space,
            calibration=self.calibration,
            batches=[(to_device(inputs, self.device), targets.to(self.device)) for inputs, targets in taken.batches(batch_size)],
            task=self.task,
            seed=self.seed,
            execution=self.execution,
        )

    def costs_of(self, method: Method | None) -> Mapping[str, CostTable]:
        """The cost tables of `method`; without a method, upper bounds over the methods of the study."""
        if method is None:
            return self.costs
        inputs = replace(self.cost_inputs or CostInputs(space=self.space), formats=(method.stores,))
        stored = [name for name in self.costs if name in COSTS and COSTS[name].reads_formats]
        return {**self.costs, **compute_costs(stored, inputs)}
