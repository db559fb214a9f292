"""`Blueprint`: the architecture and layers that an artifact describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import Granularity
from mpsearch.core.space import ResolvedSpace

__all__ = ["Blueprint"]


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """An architecture and its layers.

    Args:
        model: registered name or `package.module:factory`; empty for a module given as an object.
        options: keyword arguments of the factory.
        layers: as traced.
        granularity: what shares a scale in each layer's weight; empty if all scales are per output channel.
    """

    model: str
    options: Mapping[str, Any]
    layers: tuple[Layer, ...]
    granularity: tuple[Granularity, ...] = ()

    @classmethod
    def of(cls, model: str, options: Mapping[str, Any], space: ResolvedSpace) -> Blueprint:
        """The blueprint of a space's layers, with the granularity of their menus."""
        shared = tuple(space.granularity(row) for row in range(len(space.layers)))
        granularity = shared if set(shared) != {"channel"} else ()
        return cls(model=model, options=options, layers=space.layers, granularity=granularity)
