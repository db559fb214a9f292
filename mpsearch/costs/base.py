"""`CostInputs` and `Cost`: what every cost is computed from, and how it is listed, spelled in budgets and worded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat, StoredAs
from mpsearch.core.peak import CostTable
from mpsearch.core.registry import Registry
from mpsearch.core.space import ResolvedSpace
from mpsearch.numbers.grid import stored_as_grid

if TYPE_CHECKING:
    from mpsearch.costs.hardware import Hardware
    from mpsearch.costs.latency_profile import LatencyProfile
    from mpsearch.network.lifetimes import Lifetimes

__all__ = ["COSTS", "Compute", "Cost", "CostInputs", "LayerBytes"]


LayerBytes = Callable[[Layer, NumberFormat, NumberFormat], int]
"""Layer, stored format of its weight, format of its input → bytes in the target's file."""


def _packed_bytes(layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
    from mpsearch.targets.packed.layout import layer_bytes  # which imports torch; who only reads budgets needs none

    return layer_bytes(layer, weight, activation)


@dataclass(frozen=True, kw_only=True)
class CostInputs:
    """All a cost may look at.

    Args:
        space: L layers and their menus.
        formats: how each method of the study stores a weight, format on a menu → format stored; what costs bytes is the largest of them.
        layer_bytes: of the target whose file is counted.
        hardware: profile of the device, analytic or measured, if there is one.
        lifetimes: traces when each activation is alive, on first use; None where no network is at hand.
    """

    space: ResolvedSpace
    formats: Sequence[StoredAs] = (stored_as_grid,)
    layer_bytes: LayerBytes = _packed_bytes
    hardware: Hardware | LatencyProfile | None = None
    lifetimes: Callable[[], Lifetimes] | None = None


Compute = Callable[[CostInputs], CostTable]


def _always(inputs: CostInputs) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One entry of the registry. It knows how people write and read its amounts; nothing else does.

    Args:
        name: of the table, and before the colon of a budget: `size:2MB`.
        unit: of the table.
        description: one line for people.
        units: spelling → factor to `unit`, a decimal number as text so that 1.005 MB is a whole number of bytes; case does not matter.
        example: a budget, for messages.
        compute: makes the table, or the `Peak` of several; NaN where a choice is not on a layer's menu. It refuses inputs that lack what it
            needs.
        worded: an amount, exactly: `41,216 B`.
        brief: an amount in three or four digits: `41.2 KB`; `worded` if None.
        paper: where its definition comes from.
        aliases: other names before the colon.
        prefixed: whether a budget must name the cost, because its units are those of a more common one.
        reads_formats: whether it depends on how a method stores weights.
        reported: whether it is computed where no budget limits it.
    """

    name: str
    unit: str
    description: str
    units: Mapping[str, str]
    example: str
    compute: Compute
    worded: Callable[[float], str]
    brief: Callable[[float], str] | None = None
    paper: str = ""
    aliases: tuple[str, ...] = ()
    prefixed: bool = False
    reads_formats: bool = False
    reported: Callable[[CostInputs], bool] = field(default=_always)


COSTS: Registry[Cost] = Registry("cost", "mpsearch.costs")
