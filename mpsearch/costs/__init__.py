"""Costs: what an allocation takes, as one `Table` each. One file a cost; see `mpsearch list costs`.

A new cost is a new file in this folder:

```python
@register_cost("bits", unit="bit", description="mean weight bits", paper="…")
def bits(space: ResolvedSpace) -> Table: ...
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import StoredAs
from mpsearch.core.registry import Registry
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.numbers.grid import stored_as_grid

if TYPE_CHECKING:
    from mpsearch.costs.hardware import Hardware

__all__ = [
    "COSTS",
    "Compute",
    "Cost",
    "CostFunction",
    "FormatCostFunction",
    "HardwareCostFunction",
    "compute_costs",
    "register_cost",
    "register_format_cost",
    "register_hardware_cost",
]

CostFunction = Callable[[ResolvedSpace], Table]
FormatCostFunction = Callable[[ResolvedSpace, Sequence[StoredAs]], Table]
HardwareCostFunction = Callable[[ResolvedSpace, "Hardware"], Table]

_DEFAULT_FORMATS: tuple[StoredAs, ...] = (stored_as_grid,)


class Compute(Protocol):
    """Space, hardware profile and the formats of the methods at hand → table `[L, C]`, NaN where a choice is not on a layer's menu."""

    def __call__(self, space: ResolvedSpace, hardware: Hardware | None = None, formats: Sequence[StoredAs] = ...) -> Table:
        """The table; a cost takes of its arguments what it needs."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A plug-in of this family.

    Args:
        name: what a budget and the table call it.
        unit: of the table.
        description: one line for people.
        paper: where its definition comes from.
        compute: makes the table.
        needs_hardware: whether `compute` reads the profile.
    """

    name: str
    unit: str
    description: str
    paper: str
    compute: Compute
    needs_hardware: bool = False


COSTS: Registry[Cost] = Registry("cost", "mpsearch.costs")


def register_cost(name: str, *, unit: str, description: str, paper: str = "") -> Callable[[CostFunction], CostFunction]:
    """Decorator that files a cost of the space alone; the function itself stays as it is."""

    def file_under(function: CostFunction) -> CostFunction:
        def compute(space: ResolvedSpace, hardware: Hardware | None = None, formats: Sequence[StoredAs] = ()) -> Table:
            return function(space)

        COSTS.register(name)(Cost(name=name, unit=unit, description=description, paper=paper, compute=compute))
        return function

    return file_under


def register_format_cost(name: str, *, unit: str, description: str, paper: str = "") -> Callable[[FormatCostFunction], FormatCostFunction]:
    """Decorator that files a cost of the space and of how methods write their weights."""

    def file_under(function: FormatCostFunction) -> FormatCostFunction:
        def compute(space: ResolvedSpace, hardware: Hardware | None = None, formats: Sequence[StoredAs] = _DEFAULT_FORMATS) -> Table:
            return function(space, formats)

        COSTS.register(name)(Cost(name=name, unit=unit, description=description, paper=paper, compute=compute))
        return function

    return file_under


def register_hardware_cost(
    name: str, *, unit: str, description: str, paper: str = ""
) -> Callable[[HardwareCostFunction], HardwareCostFunction]:
    """Decorator that files a cost of the space on one device; computing it without a profile is refused."""

    def file_under(function: HardwareCostFunction) -> HardwareCostFunction:
        def compute(space: ResolvedSpace, hardware: Hardware | None = None, formats: Sequence[StoredAs] = ()) -> Table:
            if hardware is None:
                raise ConfigError(f"{name} needs a hardware profile; add --hardware with a name or a YAML file", path="hardware")
            return function(space, hardware)

        COSTS.register(name)(Cost(name=name, unit=unit, description=description, paper=paper, compute=compute, needs_hardware=True))
        return function

    return file_under


def compute_costs(
    names: Iterable[str],
    space: ResolvedSpace,
    hardware: str | Path | Hardware | None = None,
    formats: Sequence[StoredAs] = _DEFAULT_FORMATS,
) -> dict[str, Table]:
    """Tables of several costs, in the order of the names.

    Args:
        names: registered costs.
        space: L layers and their menus.
        hardware: profile, or the name or file of one; only costs of a device read it.
        formats: of each method that may write the file, format on a menu → format stored; what costs bytes is the largest of them.

    Raises:
        UnknownNameError: a name nobody registered.
        ConfigError: a cost of a device without a profile, or a profile that cannot be read.
    """
    from mpsearch.costs.hardware import load_hardware

    profile = load_hardware(hardware) if isinstance(hardware, (str, Path)) else hardware
    return {name: COSTS[name].compute(space, profile, formats) for name in names}
