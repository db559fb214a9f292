"""Costs: what an allocation takes, as one `Table` each. One file a cost; see `mpsearch list costs`.

A new cost is a new file in this folder:

```python
@register_cost("bits", unit="bit", description="mean weight bits", paper="…")
def bits(space: ResolvedSpace) -> Table: ...
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.core.errors import ConfigError
from mpsearch.core.registry import Registry
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

if TYPE_CHECKING:
    from mpsearch.costs.hardware import Hardware

__all__ = ["COSTS", "Cost", "CostFunction", "HardwareCostFunction", "compute_costs", "register_cost", "register_hardware_cost"]

CostFunction = Callable[[ResolvedSpace], Table]
HardwareCostFunction = Callable[[ResolvedSpace, "Hardware"], Table]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A plug-in of this family.

    Args:
        name: what a budget and the table call it.
        unit: of the table.
        description: one line for people.
        paper: where its definition comes from.
        compute: space and hardware profile → table `[L, C]`, NaN where a choice is not on a layer's menu.
        needs_hardware: whether `compute` reads the profile.
    """

    name: str
    unit: str
    description: str
    paper: str
    compute: Callable[[ResolvedSpace, Hardware | None], Table]
    needs_hardware: bool = False


COSTS: Registry[Cost] = Registry("cost", "mpsearch.costs")


def register_cost(name: str, *, unit: str, description: str, paper: str = "") -> Callable[[CostFunction], CostFunction]:
    """Decorator that files a cost of the space alone; the function itself stays as it is."""

    def file_under(function: CostFunction) -> CostFunction:
        def compute(space: ResolvedSpace, hardware: Hardware | None) -> Table:
            return function(space)

        COSTS.register(name)(Cost(name=name, unit=unit, description=description, paper=paper, compute=compute))
        return function

    return file_under


def register_hardware_cost(
    name: str, *, unit: str, description: str, paper: str = ""
) -> Callable[[HardwareCostFunction], HardwareCostFunction]:
    """Decorator that files a cost of the space on one device; computing it without a profile is refused."""

    def file_under(function: HardwareCostFunction) -> HardwareCostFunction:
        def compute(space: ResolvedSpace, hardware: Hardware | None) -> Table:
            if hardware is None:
                raise ConfigError(f"{name} needs a hardware profile; add --hardware with a name or a YAML file", path="hardware")
            return function(space, hardware)

        COSTS.register(name)(Cost(name=name, unit=unit, description=description, paper=paper, compute=compute, needs_hardware=True))
        return function

    return file_under


def compute_costs(names: Iterable[str], space: ResolvedSpace, hardware: str | Path | Hardware | None = None) -> dict[str, Table]:
    """Tables of several costs, in the order of the names.

    Args:
        names: registered costs.
        space: L layers and their menus.
        hardware: profile, or the name or file of one; only costs of a device read it.

    Raises:
        UnknownNameError: a name nobody registered.
        ConfigError: a cost of a device without a profile, or a profile that cannot be read.
    """
    from mpsearch.costs.hardware import load_hardware

    profile = load_hardware(hardware) if isinstance(hardware, (str, Path)) else hardware
    return {name: COSTS[name].compute(space, profile) for name in names}
