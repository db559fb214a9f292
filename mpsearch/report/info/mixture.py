"""Numbers of a mixture of signals: the weight of each, and how well each alone and all together rank measured losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpsearch.core.summary import WEIGHT_OF
from mpsearch.core.table import Table

__all__ = ["MixtureInfo", "MixtureRow", "mixture_infos"]


@dataclass(frozen=True, kw_only=True)
class MixtureRow:
    """One signal in a mixture.

    Args:
        name: of the signal.
        weight: nats of damage per nat of the signal.
        share: of the predicted damage of the measured allocations, 0 to 1.
        rho: Spearman's correlation of the signal alone with the measured damage.
    """

    name: str
    weight: float
    share: float
    rho: float


@dataclass(frozen=True, kw_only=True)
class MixtureInfo:
    """One mixture.

    Args:
        name: name of its table.
        rows: signals, the largest share first.
        rho: Spearman's correlation of leave-one-out predictions with the measured losses.
        allocations: number of measured allocations.
        floor: nats of loss that do not depend on the bits.
        finding: one sentence that says what is seen.
    """

    name: str
    rows: tuple[MixtureRow, ...]
    rho: float
    allocations: int
    floor: float
    finding: str


def mixture_infos(tables: Sequence[Table]) -> tuple[MixtureInfo, ...]:
    """One for every table that is a mixture."""
    return tuple(_mixture(table) for table in tables if any(key.startswith(WEIGHT_OF) for key in table.cost))


def _mixture(table: Table) -> MixtureInfo:
    cost = table.cost
    names = [key.removeprefix(WEIGHT_OF) for key in cost if key.startswith(WEIGHT_OF)]
    rows = [
        MixtureRow(name=name, weight=cost[f"{WEIGHT_OF}{name}"], share=cost[f"share of {name}"], rho=cost[f"correlation of {name}"])
        for name in names
    ]
    rho, allocations, best = cost["correlation"], int(cost["measured allocations"]), max(rows, key=lambda row: row.rho)
    own, other = (f"{value:.2f}".replace("-", "\u2212") for value in (rho, best.rho))
    finding = (
        f"{table.name}: \u03c1 = {own} over {allocations} measured allocations, each left out of the fit in turn; "
        f"{best.name} alone: {other}."
    )
    return MixtureInfo(
        name=table.name,
        rows=tuple(sorted(rows, key=lambda row: -row.share)),
        rho=rho,
        allocations=allocations,
        floor=cost["floor"],
        finding=finding,
    )
