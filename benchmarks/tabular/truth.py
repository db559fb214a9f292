"""`Truth`: what every allocation of one network scores and costs, and the signals a search may start from; one compressed file each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.program import grouped
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.files import replacing
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["ACTIVATION_DISTANCE", "SQNR", "Picks", "Truth", "allocation_of", "file_of", "names"]

Picks = tuple[int, ...]
"""Column on the menu of each group."""

ACTIVATION_DISTANCE = "activation distance"
SQNR = "noise-to-signal"
"""Tables beside mpsearch's own: what other tools choose bits by; see `measure.py`."""

_FOLDER = Path(__file__).parent


def file_of(name: str) -> Path:
    """Where the table of a network lies."""
    return _FOLDER / f"{name}.npz"


def names() -> list[str]:
    """Networks whose tables are there."""
    return sorted(file.stem for file in _FOLDER.glob("*.npz"))


def allocation_of(space: ResolvedSpace, picks: Picks) -> Allocation:
    """Columns on the groups' menus → bits of every layer."""
    choices = {index: space.menus[index][pick] for group, pick in zip(space.groups, picks, strict=True) for index in group}
    return Allocation({name: choices[index] for index, name in enumerate(space.names)})


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Every allocation of one network, G groups with one menu each.

    Args:
        name: of the study.
        space: layers, menus, groups.
        loss: `[menu of group 0, …, menu of group G − 1]`, nats, on the validation split.
        error: the same shape, share of validation images.
        size: bytes of the file.
        tables: signals by name, `[L, C]`.
        notes: where it comes from.
    """

    name: str
    space: ResolvedSpace
    loss: NDArray[np.float64]
    error: NDArray[np.float64]
    size: Table
    tables: Mapping[str, Table]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def menus(self) -> list[tuple[Choice, ...]]:
        """Menu of each group."""
        return [self.space.menus[group[0]] for group in self.space.groups]

    @cached_property
    def bytes(self) -> NDArray[np.int64]:
        """File size of every allocation, the shape of `loss`."""
        return self.totals(self.size).round().astype(np.int64)

    def totals(self, table: Table) -> NDArray[np.float64]:
        """A table's total for every allocation, the shape of `loss`."""
        cells = grouped(self.space, table)
        column = {choice: index for index, choice in enumerate(self.space.choices)}
        total = np.full(self.loss.shape, table.base)
        for axis, menu in enumerate(self.menus):
            shape = [1] * len(self.menus)
            shape[axis] = len(menu)
            total = total + cells[axis, [column[choice] for choice in menu]].reshape(shape)
        return total

    def allocation(self, picks: Picks) -> Allocation:
        """Columns on the groups' menus → bits of every layer."""
        return allocation_of(self.space, picks)

    def picks(self, allocation: Allocation) -> tuple[int, ...]:
        """Inverse of `allocation`."""
        return tuple(menu.index(allocation[self.space.names[group[0]]]) for menu, group in zip(self.menus, self.space.groups, strict=True))

    def save(self, file: Path) -> None:
        """Write the file; float32 is more than the scores are worth."""
        meta = {
            "name": self.name,
            "notes": dict(self.notes),
            "layers": [asdict(layer) for layer in self.space.layers],
            "menus": [[str(choice) for choice in menu] for menu in self.space.menus],
            "groups": self.space.groups,
            "overhead": self.space.file_overhead,
            "tables": [
                {"name": name, "unit": table.unit, "base": table.base, "cost": dict(table.cost)}
                for name, table in {"size": self.size, **self.tables}.items()
            ],
        }
        arrays: dict[str, Any] = {f"table_{name}": table.values for name, table in {"size": self.size, **self.tables}.items()}
        arrays |= {"loss": self.loss.astype(np.float32), "error": self.error.astype(np.float32)}
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, meta=json.dumps(meta), **arrays)

    @classmethod
    def load(cls, file: Path) -> Truth:
        """Read a file that `save` wrote."""
        with np.load(file) as stored:
            meta = json.loads(str(stored["meta"]))
            layers = tuple(
                Layer(**{**layer, "weight_shape": tuple(layer["weight_shape"]), "aliases": tuple(layer["aliases"])})
                for layer in meta["layers"]
            )
            space = ResolvedSpace(
                layers=layers,
                menus=tuple(tuple(Choice.parse(text) for text in menu) for menu in meta["menus"]),
                groups=tuple(tuple(group) for group in meta["groups"]),
                file_overhead=meta["overhead"],
            )
            tables = {
                told["name"]: Table(
                    name=told["name"],
                    unit=told["unit"],
                    layers=space.names,
                    choices=space.choices,
                    values=stored[f"table_{told['name']}"],
                    base=told["base"],
                    cost=told["cost"],
                )
                for told in meta["tables"]
            }
            return cls(
                name=meta["name"],
                space=space,
                loss=stored["loss"].astype(np.float64),
                error=stored["error"].astype(np.float64),
                size=tables.pop("size"),
                tables=tables,
                notes=meta["notes"],
            )
