"""`Blueprint`: the network that an artifact describes, without its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, Granularity, NumberFormat, StoredAs
from mpsearch.core.space import ResolvedSpace

__all__ = ["Blueprint"]

_WITHOUT_ZERO_POINTS = frozenset(NumberFormat(name, bits) for name, kind in NUMBER_KINDS.items() for bits in kind.widths)
_WITH_ZERO_POINTS = frozenset(replace(each, zero_point=True) for each in _WITHOUT_ZERO_POINTS if each.kind == "uniform" and each.bits > 1)
_ALL_FORMATS = _WITHOUT_ZERO_POINTS | _WITH_ZERO_POINTS | {FLOAT}


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """An architecture and its layers.

    Args:
        architecture: float network; of its parameters only the shapes matter.
        inputs: one batch, for targets that trace the network.
        layers: as traced.
        model: registered name or `package.module:factory`; empty for a module given as an object.
        options: keyword arguments of the factory.
        granularity: what shares a scale in each layer's weight; empty if all scales are per output channel.
        mixed: whether a layer's formats differ in what shares a scale; then each file says it layer by layer.
        formats: that a weight may have in the file.
        quantizes_inputs: whether a menu has a quantized activation.
    """

    architecture: nn.Module
    inputs: Any
    layers: tuple[Layer, ...]
    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    granularity: tuple[Granularity, ...] = ()
    mixed: bool = False
    formats: frozenset[NumberFormat] = _ALL_FORMATS
    quantizes_inputs: bool = True

    @classmethod
    def of(
        cls,
        architecture: nn.Module,
        inputs: Any,
        space: ResolvedSpace,
        model: str = "",
        options: Mapping[str, Any] | None = None,
        stores: Iterable[StoredAs] = (),
    ) -> Blueprint:
        """The blueprint of a space's layers, with the granularity and the formats of their menus as the study's methods store them."""
        choices = {choice for menu in space.menus for choice in menu}
        stored = frozenset(format for choice in choices for each in stores if (format := each(choice.weight)) is not None)
        shared = [space.granularities(row) for row in range(len(space.layers))]
        mixed = any(len(each) > 1 for each in shared)
        granularity = () if mixed or {each[0] for each in shared} == {"channel"} else tuple(each[0] for each in shared)
        return cls(
            architecture=architecture,
            inputs=inputs,
            layers=space.layers,
            model=model,
            options=options or {},
            granularity=granularity,
            mixed=mixed,
            formats=stored or _ALL_FORMATS,
            quantizes_inputs=any(not choice.activation.is_float for choice in choices),
        )
