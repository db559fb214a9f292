"""`Space`: the search space (menus, pins and ties by glob on layer names); `ResolvedSpace`: the same for one model's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, SUPERBLOCK, Granularity, NumberFormat
from mpsearch.core.table import Table
from mpsearch.core.unquantized import Unquantized

__all__ = ["LayerMenu", "ResolvedSpace", "Space"]


@dataclass(frozen=True, kw_only=True)
class LayerMenu:
    """Narrower menus for the layers a glob matches; `None` keeps the space's own."""

    weights: tuple[NumberFormat | int, ...] | None = None
    activations: tuple[NumberFormat | int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Space:
    """The search space: menus, pins and ties, by glob on layer names.

    Args:
        name: name in reports.
        weights: menu of weight formats; a whole number stands for uniform bits, 1 to 8, or 32 for float.
        activations: menu of activation formats, likewise, from 2 bits up.
        layers: glob → narrower menus; the last glob that matches a layer applies.
        pins: glob → the one choice its layers take; it must be on their menu.
        ties: lists of globs; all layers that match a list take the same choice.
    """

    name: str
    weights: tuple[NumberFormat | int, ...]
    activations: tuple[NumberFormat | int, ...] = (FLOAT,)
    layers: Mapping[str, LayerMenu] = field(default_factory=dict)
    pins: Mapping[str, Choice] = field(default_factory=dict)
    ties: tuple[tuple[str, ...], ...] = ()

    def resolve(self, layers: Sequence[Layer], *, file_overhead: int = 0) -> ResolvedSpace:
        """Apply the globs to a model's layers.

        A layer whose input cannot be quantized has float activations only, regardless of the menu.

        Args:
            layers: in forward order.
            file_overhead: bytes of the artifact that do not depend on the choices: the header and everything that stays float.

        Raises:
            ModelError: no layers.
            SpaceError: a glob matches no layer, a pin is not on its menu, tied layers have different menus, or a menu is empty.
        """
        if not layers:
            raise ModelError("the model has nothing to quantize: its forward pass multiplies no parameter")
        names = [layer.name for layer in layers]
        menus: list[tuple[Choice, ...]] = []
        for layer in layers:
            weights, activations = self.weights, self.activations
            for pattern, menu in self.layers.items():
                if fnmatchcase(layer.name, pattern):
                    weights = self.weights if menu.weights is None else menu.weights
                    activations = self.activations if menu.activations is None else menu.activations
            if not layer.act_quantizable:
                activations = (FLOAT,)
            if not weights or not activations:
                raise SpaceError(f"space '{self.name}': the menu of layer '{layer.name}' is empty; give at least one choice")
            menus.append(tuple(sorted({Choice(w, a) for w in weights for a in activations})))
            _check_granularity(self.name, layer, menus[-1])
        for pattern in self.layers:
            _matching(pattern, layers, self.name)
        for pattern, pinned in self.pins.items():
            for index in _matching(pattern, layers, self.name):
                pin = pinned if layers[index].act_quantizable else Choice(pinned.weight)
                if pin not in menus[index]:
                    raise SpaceError(
                        f"space '{self.name}': layer '{names[index]}' is pinned to {pin}, which is not on its menu "
                        f"({', '.join(map(str, menus[index]))}); change the pin or the menu"
                    )
                menus[index] = (pin,)
        return ResolvedSpace(layers=tuple(layers), menus=tuple(menus), groups=self._groups(layers, menus), file_overhead=file_overhead)

    def _groups(self, layers: Sequence[Layer], menus: Sequence[tuple[Choice, ...]]) -> tuple[tuple[int, ...], ...]:
        names, group_of = [layer.name for layer in layers], list(range(len(layers)))
        for tie in self.ties:
            members = sorted({index for pattern in tie for index in _matching(pattern, layers, self.name)})
            for index in members[1:]:
                if menus[index] != menus[members[0]]:
                    raise SpaceError(
                        f"space '{self.name}': '{names[members[0]]}' and '{names[index]}' are tied but have different menus "
                        f"({', '.join(map(str, menus[members[0]]))} and {', '.join(map(str, menus[index]))}); give them the same menu"
                    )
            merged = {group_of[index] for index in members}
            group_of = [min(merged) if group in merged else group for group in group_of]
        return tuple(tuple(i for i, g in enumerate(group_of) if g == group) for group in sorted(set(group_of)))


@dataclass(frozen=True, kw_only=True)
class ResolvedSpace:
    """A space applied to one model.

    Args:
        layers: L layers in forward order.
        menus: L menus, each sorted.
        groups: indices of layers that share their choice; every layer is in exactly one group.
        file_overhead: bytes of the artifact that do not depend on the choices.
        unquantized: what stays float whatever the choices.
    """

    layers: tuple[Layer, ...]
    menus: tuple[tuple[Choice, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    file_overhead: int = 0
    unquantized: tuple[Unquantized, ...] = ()

    def granularities(self, row: int) -> tuple[Granularity, ...]:
        """What may share a scale in a layer's quantized weights, in the menu's order; `channel` if none is quantized."""
        found = dict.fromkeys(choice.weight.granularity for choice in self.menus[row] if not choice.weight.is_float)
        return tuple(found) or ("channel",)

    @property
    def names(self) -> tuple[str, ...]:
        """L layer names."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """C choices: the sorted union of all menus, the columns of every table."""
        return tuple(sorted({choice for menu in self.menus for choice in menu}))

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Bool `[L, C]`: whether a choice is on a layer's menu; read-only."""
        allowed = np.array([[choice in menu for choice in self.choices] for menu in map(frozenset, self.menus)], dtype=np.bool_)
        allowed.setflags(write=False)
        return allowed

    @property
    def quantizes_activations(self) -> bool:
        """Whether any layer may quantize its input."""
        return any(not choice.activation.is_float for menu in self.menus for choice in menu)

    def table(self, name: str, unit: str, values: NDArray[np.float64], **more: Any) -> Table:
        """A table over these layers and choices.

        Args:
            name: such as `size` or `fisher`.
            unit: such as `B` or `nats`.
            values: `[L, C]`, or broadcastable to it; choices that are not on a layer's menu become NaN.
            more: other fields of `Table`, such as `base` or `cost`.
        """
        masked = np.where(self.allowed, values, np.nan)
        return Table(name=name, unit=unit, layers=self.names, choices=self.choices, values=masked, **more)

    def check(self, allocation: Allocation) -> Allocation:
        """The allocation in layer order.

        Raises:
            SpaceError: a layer is missing or unknown, a choice is not on its menu, or tied layers differ.
        """
        known = set(self.names)
        for name in allocation:
            if name not in known:
                raise SpaceError(f"the allocation names the unknown layer '{name}'; layers: {', '.join(self.names)}")
        for name, menu in zip(self.names, self.menus, strict=True):
            if name not in allocation:
                raise SpaceError(f"the allocation has no choice for layer '{name}'; add one of {', '.join(map(str, menu))}")
            if allocation[name] not in menu:
                raise SpaceError(
                    f"the allocation gives layer '{name}' {allocation[name]}, which is not on its menu ({', '.join(map(str, menu))})"
                )
        for group in self.groups:
            for index in group[1:]:
                first, other = self.names[group[0]], self.names[index]
                if allocation[first] != allocation[other]:
                    raise SpaceError(
                        f"'{first}' and '{other}' are tied but the allocation gives them {allocation[first]} and {allocation[other]}"
                    )
        return Allocation({name: allocation[name] for name in self.names})

    def uniform(self, choice: Choice) -> Allocation:
        """The same choice for every layer that has it; for others the smallest format with at least as many bits, else the largest."""
        picked: dict[str, Choice] = {}
        for name, menu in zip(self.names, self.menus, strict=True):
            weight = _nearest({c.weight for c in menu}, choice.weight)
            picked[name] = Choice(weight, _nearest({c.activation for c in menu if c.weight == weight}, choice.activation))
        return Allocation(picked)


def _check_granularity(space: str, layer: Layer, menu: Sequence[Choice]) -> None:
    quantized = [choice.weight for choice in menu if not choice.weight.is_float]
    different = sorted({str(weight.granularity) for weight in quantized})
    if len(different) > 1 and "tensor" in different:
        raise SpaceError(
            f"space '{space}': the menu of layer '{layer.name}' mixes scales by {' and '.join(different)} "
            f"({', '.join(map(str, quantized))}); a scale for a whole tensor cannot stand beside others, so leave it out or alone"
        )
    columns = layer.weights // layer.channels
    for weight in quantized:
        size = SUPERBLOCK if weight.in_superblocks else weight.group
        if size is not None and columns % size:
            raise SpaceError(
                f"space '{space}': layer '{layer.name}' has {columns} weights per output channel, which groups of {size} "
                f"do not divide ('{weight}'); give it another format under 'layers'"
            )
        if weight.in_superblocks and layer.norm:
            raise SpaceError(
                f"space '{space}': the BatchNorm of layer '{layer.name}' is folded into its weight per channel, which superblocks "
                f"cannot represent ('{weight}'); give it another format under 'layers'"
            )
        if weight.granularity == "tensor" and layer.norm:
            raise SpaceError(
                f"space '{space}': the BatchNorm of layer '{layer.name}' is folded into its weight per channel, which one scale "
                f"per tensor cannot represent ('{weight}'); give it another format under 'layers'"
            )


def _nearest(menu: Set[NumberFormat], asked: NumberFormat) -> NumberFormat:
    if asked in menu:
        return asked
    formats = sorted(menu)
    return next((format for format in formats if format.bits_per_value >= asked.bits_per_value), formats[-1])


def _matching(pattern: str, layers: Sequence[Layer], space: str) -> list[int]:
    found = [index for index, layer in enumerate(layers) if fnmatchcase(layer.name, pattern)]
    if not found:
        for layer in layers:
            same = next((alias for alias in layer.aliases if fnmatchcase(alias.removesuffix(".weight"), pattern)), None)
            if same is not None:
                raise SpaceError(
                    f"space '{space}': '{pattern}' is no layer of its own: '{same}' is the tensor of layer '{layer.name}', which is stored "
                    f"once and has one format; write '{layer.name}'"
                )
        raise SpaceError(f"space '{space}': no layer matches '{pattern}'; layers: {', '.join(layer.name for layer in layers)}")
    return found
