"""`Trial`: an allocation to evaluate; the result is a `Record`."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.allocation import Allocation

__all__ = ["Trial"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An allocation to evaluate.

    Args:
        number: trial number in the study; −1 for references.
        origin: who proposed it: `milp:fisher`, `uniform`, `swap`, …
        allocation: one choice for every layer.
    """

    number: int
    origin: str
    allocation: Allocation
