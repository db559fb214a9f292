"""Results of a study without trials: its signals, and the optimal allocation for the first signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mpsearch.allocate.solve import Solution, solve
from mpsearch.core.budget import ranged
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.run.sensitivity import by_dependence, compute_signals
from mpsearch.run.setup import build_setup
from mpsearch.run.statistics import with_statistics
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["allocate", "sensitivities"]


def sensitivities(config: StudyConfig, progress: Progress | None = None) -> tuple[ResolvedSpace, tuple[Table, ...]]:
    """(Space, signals) of a study: `mpsearch signals`. Unreachable budgets are not an error here."""
    progress = progress or Silent()
    problem = _problem(config, progress, check_limits=False)
    return problem.space, compute_signals(config, problem, progress).tables


def allocate(config: StudyConfig, progress: Progress | None = None) -> tuple[ResolvedSpace, Mapping[str, CostTable], Solution]:
    """(Space, costs, optimal allocation by the first signal) under the budgets of a study: `mpsearch allocate`."""
    progress = progress or Silent()
    if config.keep is not None:
        raise BudgetError(
            f"keep {config.keep.text} takes trials to know, and one allocation is asked for; give --budget alone, or search: mpsearch study"
        )
    if (area := ranged(config.limits)) is not None:
        raise BudgetError(f"budget {area} is a range, and one allocation is asked for; give one amount, or search a front: mpsearch study")
    config = _first_signal(config)
    problem = _problem(config, progress)
    table = compute_signals(config, problem, progress).tables[0]
    return problem.space, problem.costs, solve(problem.space, table, problem.costs, problem.budgets)


def _problem(config: StudyConfig, progress: Progress, *, check_limits: bool = True) -> Problem:
    """The search problem; how BatchNorm follows quantization is chosen where a signal measures quantized networks."""
    setup = build_setup(config, progress, check_limits=check_limits)
    _, combining = by_dependence(config.signals.names)
    return (with_statistics(config, setup, progress) if combining else setup).problem


def _first_signal(config: StudyConfig) -> StudyConfig:
    """The study with only the signals of the first table: all if one combines others, since that one comes first."""
    independent, combining = by_dependence(config.signals.names)
    if combining:
        return config
    return config.model_copy(update={"signals": config.signals.model_copy(update={"names": tuple(independent[:1])})})
