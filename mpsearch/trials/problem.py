"""`Problem`: everything a search needs to know, built once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.allocate.solve import meets
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs.size import size
from mpsearch.methods.base import Method
from mpsearch.network.calibrate import Calibration
from mpsearch.tasks.task import Task

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["Problem"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is searched.

    Args:
        model: float network, on `device`, in evaluation mode; never changed.
        train: data of calibration, signals and training.
        validation: data trials are scored on.
        task: loss and metric.
        space: layers and menus.
        costs: tables by name; at least those the budgets limit, and `size` for all methods that may be trained.
        budgets: all hold.
        calibration: ranges.
        device: where everything runs.
        seed: of everything random.
    """

    model: nn.Module
    train: Split
    validation: Split
    task: Task
    space: ResolvedSpace
    costs: Mapping[str, Table]
    budgets: Sequence[Budget]
    calibration: Calibration
    device: torch.device
    seed: int

    def amounts(self, allocation: Allocation, method: Method | None = None) -> dict[str, float]:
        """Every cost of an allocation: as `method` writes it, exactly; without one, what no method of the study exceeds."""
        return {name: table.total(allocation) for name, table in self.costs_of(method).items()}

    def fits(self, allocation: Allocation, method: Method | None = None) -> bool:
        """Whether every budget holds: as `method` writes it; without one, whatever method of the study does."""
        return meets(allocation, self.costs_of(method), self.budgets)

    def costs_of(self, method: Method | None) -> Mapping[str, Table]:
        """The tables: of what `method` writes; without one, of what no method of the study exceeds."""
        return self.costs if method is None else {**self.costs, "size": size(self.space, (method.stores,))}
