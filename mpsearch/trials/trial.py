"""`Trial`: an allocation that is to be evaluated. What comes of it is a `Record`."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.allocation import Allocation

__all__ = ["Trial"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is to be evaluated.

    Args:
        number: its number in the study; −1 for references.
        origin: who proposed it: `milp:fisher`, `uniform`, `swap`, …
        allocation: its bits.
    """

    number: int
    origin: str
    allocation: Allocation
