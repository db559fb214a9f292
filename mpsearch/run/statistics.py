"""The choice of how BatchNorm statistics of untrained allocations follow quantization: made once a run, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpsearch.core.allocation import Allocation
from mpsearch.core.checked import checked
from mpsearch.core.json_data import json_data
from mpsearch.core.pass_counts import phase
from mpsearch.core.progress import Progress
from mpsearch.core.statistics import StatisticsChoice
from mpsearch.run.ledger import Ledger
from mpsearch.run.setup import Setup
from mpsearch.study.settings import search_settings
from mpsearch.trials.statistics import choose_statistics, reference_allocations

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["CHOICE", "with_statistics"]

CHOICE = "batchnorm.json"


def with_statistics(
    config: StudyConfig,
    setup: Setup,
    progress: Progress,
    ledger: Ledger | None = None,
    *,
    references: Sequence[tuple[str, Allocation]] | None = None,
) -> Setup:
    """The setup with the way that is best for its network and data.

    Args:
        config: the study.
        setup: its network and data.
        progress: gets a bar.
        ledger: keeps the choice; without one it is made anew.
        references: (name, allocation) to choose by; the uniform ones next to the budgets unless told.
    """
    problem, default = setup.problem, search_settings(config).default
    near = reference_allocations(problem) if references is None else references

    def choose() -> StatisticsChoice | None:
        with progress.phase("BatchNorm statistics", 1), phase("batchnorm"):
            return choose_statistics(problem, default.method, default.recipe, near)

    def load(document: Any) -> StatisticsChoice | None:
        return None if document is None else checked(StatisticsChoice, document)

    if ledger is None:
        choice = choose()
    else:
        made_from = ledger.made_from(default.method, default.recipe, [allocation.key() for _, allocation in near])
        with ledger.clock("preparation"):
            choice = ledger.once(CHOICE, choose, dump=json_data, load=load, made_from=made_from)
    if choice is None:
        return setup
    return replace(setup, batchnorm=choice, problem=replace(problem, statistics=choice.chosen))
