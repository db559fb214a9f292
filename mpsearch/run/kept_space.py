"""`KeptSpace`: the space of a run and what every choice costs, in the run directory; answers about budgets need no network then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpsearch.core.checked import checked
from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.core.files import is_file
from mpsearch.core.json_data import json_data
from mpsearch.core.peak import CostTable, Peak
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.methods.base import Method
from mpsearch.run.directory import SPACE
from mpsearch.run.ledger import Ledger, read_result
from mpsearch.trials.problem import Problem

__all__ = ["KeptSpace", "keep_space", "kept_space"]


@dataclass(frozen=True, kw_only=True)
class KeptSpace:
    """The space of a run and its costs.

    Args:
        space: layers, menus, ties.
        bounds: tables by name that the search counted with: the largest over the study's methods; a cost's rows.
        exact: the same of the method that the run's networks were retrained with.
    """

    space: ResolvedSpace
    bounds: Mapping[str, tuple[Table, ...]]
    exact: Mapping[str, tuple[Table, ...]]

    def costs(self, *, exact: bool) -> dict[str, CostTable]:
        """The tables by name of the cost."""
        rows = self.exact if exact else self.bounds
        return {name: tables[0] if len(tables) == 1 else Peak(tables) for name, tables in rows.items()}


def keep_space(ledger: Ledger, problem: Problem, method: Method) -> None:
    """Write the space of a run, unless it is there.

    Args:
        ledger: of the run.
        problem: its search problem.
        method: that the run's networks are retrained with.
    """

    def kept() -> KeptSpace:
        bounds, exact = problem.costs, problem.costs_of(method)
        return KeptSpace(
            space=problem.space,
            bounds={name: cost.rows for name, cost in bounds.items()},
            exact={name: cost.rows for name, cost in exact.items()},
        )

    ledger.once(SPACE, kept, dump=json_data, load=_loaded, made_from=ledger.made_from(method))


def kept_space(run_dir: Path) -> KeptSpace:
    """The space of a run.

    Raises:
        RunDirectoryError: there is none, or it was damaged or forged.
    """
    file = run_dir / SPACE
    if not is_file(file):
        raise RunDirectoryError(
            f"{run_dir} holds no {SPACE}, which runs of an earlier version did not write; "
            "repeat the command of that run in another --run-dir"
        )
    return read_result(file, _loaded)


def _loaded(document: Any) -> KeptSpace:
    kept = checked(KeptSpace, document)
    space, names = kept.space, kept.space.names
    layers = range(len(names))
    if not names or len(set(names)) < len(names) or len(space.menus) != len(names) or not all(space.menus):
        raise ConfigError("space must have layers of different names, each with a menu")
    if sorted(index for group in space.groups for index in group) != list(layers) or not all(space.groups):
        raise ConfigError("each layer of the space must be in one group")
    if any(space.menus[index] != space.menus[group[0]] for group in space.groups for index in group):
        raise ConfigError("tied layers of the space must have one menu")
    if kept.bounds.keys() != kept.exact.keys() or "size" not in kept.bounds:
        raise ConfigError("bounds and exact must be of the same costs, size among them")
    for name, tables in [*kept.bounds.items(), *kept.exact.items()]:
        if not tables or any(table.layers != names or table.choices != space.choices for table in tables):
            raise ConfigError(f"the tables of {name!r} must be of the layers and choices of the space")
        if not all(np.isfinite(table.base) and np.isfinite(table.values[space.allowed]).all() for table in tables):
            raise ConfigError(f"the tables of {name!r} must hold a finite number for every choice on a menu")
    return kept
