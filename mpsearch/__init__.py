"""mpsearch: how many bits each layer of a PyTorch network gets under a budget, trained, exported and verified.

`mpsearch.search(model, train, validation, budget="2MB")` is the whole run, `mpsearch.load(path)` reads what it made.
Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mpsearch.core.version import __version__ as __version__

if TYPE_CHECKING:
    from mpsearch.api import Result, export, from_pretrained, load, search
    from mpsearch.config import StudyConfig, load_space, load_study
    from mpsearch.core.allocation import Allocation
    from mpsearch.core.budget import Budget
    from mpsearch.core.choice import Choice
    from mpsearch.core.errors import MpsearchError, UsageError
    from mpsearch.core.layer import Layer
    from mpsearch.core.number_format import NumberFormat
    from mpsearch.core.record import Record, Score, pareto_front
    from mpsearch.core.space import ResolvedSpace, Space
    from mpsearch.core.summary import Summary
    from mpsearch.core.table import Table
    from mpsearch.costs.budgets import parse_budget
    from mpsearch.data.stream import Stream
    from mpsearch.loggers.base import Callback
    from mpsearch.tasks.task import Task
    from mpsearch.training.recipe import Recipe


__all__ = [
    "Allocation",
    "Budget",
    "Callback",
    "Choice",
    "Layer",
    "MpsearchError",
    "NumberFormat",
    "Recipe",
    "Record",
    "ResolvedSpace",
    "Result",
    "Score",
    "Space",
    "Stream",
    "StudyConfig",
    "Summary",
    "Table",
    "Task",
    "UsageError",
    "export",
    "from_pretrained",
    "load",
    "load_space",
    "load_study",
    "pareto_front",
    "parse_budget",
    "search",
]

_HOMES = {
    "Allocation": "mpsearch.core.allocation",
    "Budget": "mpsearch.core.budget",
    "Callback": "mpsearch.loggers.base",
    "Choice": "mpsearch.core.choice",
    "Layer": "mpsearch.core.layer",
    "MpsearchError": "mpsearch.core.errors",
    "NumberFormat": "mpsearch.core.number_format",
    "Recipe": "mpsearch.training.recipe",
    "Record": "mpsearch.core.record",
    "ResolvedSpace": "mpsearch.core.space",
    "Result": "mpsearch.api",
    "Score": "mpsearch.core.record",
    "Space": "mpsearch.core.space",
    "StudyConfig": "mpsearch.config",
    "Stream": "mpsearch.data.stream",
    "Summary": "mpsearch.core.summary",
    "Table": "mpsearch.core.table",
    "Task": "mpsearch.tasks.task",
    "UsageError": "mpsearch.core.errors",
    "export": "mpsearch.api",
    "from_pretrained": "mpsearch.api",
    "load": "mpsearch.api",
    "load_space": "mpsearch.config",
    "load_study": "mpsearch.config",
    "pareto_front": "mpsearch.core.record",
    "parse_budget": "mpsearch.costs.budgets",
    "search": "mpsearch.api",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mpsearch' has no attribute '{name}'")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
