"""`Target`: the file of one runtime: which formats it can hold, what each of them costs there, how it is written and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat, StoredAs
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.baked import Parts, install
from mpsearch.network.inputs import call
from mpsearch.targets.blueprint import Blueprint

__all__ = ["Artifact", "Target", "restricted"]


class Artifact(ABC):
    """A file read back: what to build, and the numbers to put in."""

    model: str
    """Registered name or `package.module:factory`; empty for a module that was handed in."""
    options: Mapping[str, Any]
    """Keyword arguments of the factory."""

    @property
    @abstractmethod
    def allocation(self) -> Allocation:
        """The formats of every layer, as they are stored."""

    @abstractmethod
    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """

    @abstractmethod
    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the float architecture with the numbers in place, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: an architecture that cannot be copied.
        """


class Target(ABC):
    """One plug-in of the family `targets/`.

    Sizes are exact: a file has `overhead_bytes + Σ layer_bytes` bytes, whatever the allocation.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """One line for `mpsearch list`."""
    file: ClassVar[str]
    """What the artifact is called in a run directory."""

    @abstractmethod
    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Why the file cannot hold a layer in these formats, as they would be stored; "" where it can."""

    @abstractmethod
    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """All bytes of the file that belong to one layer in these formats, as they are stored."""

    @abstractmethod
    def overhead_bytes(self, blueprint: Blueprint, model: nn.Module) -> int:
        """Bytes of the file that no allocation changes: header, and whatever stays float."""

    @abstractmethod
    def write(self, path: Path, blueprint: Blueprint, parts: Parts) -> int:
        """Write the file whole or not at all; returns its size in bytes."""

    def recognises(self, path: Path) -> bool:
        """Whether a file looks like one of this target's; by its suffix, unless the target knows better."""
        return path.suffix == Path(self.file).suffix

    @abstractmethod
    def read(self, path: Path) -> Artifact:
        """Read and check a file.

        Raises:
            ArtifactError: missing, truncated, tampered with, or none of this target's.
        """

    def verify(self, path: Path, parts: Parts, model: nn.Module, layers: Sequence[Layer], inputs: Any, expected: float) -> None:
        """Prove that a file that was just written is the network that was scored.

        Args:
            path: of the file.
            parts: the numbers it was written from.
            model: float architecture.
            layers: as traced.
            inputs: one batch, on the model's device.
            expected: the bytes its allocation was promised to take.

        Raises:
            ArtifactError: the file has other bytes, or the network in it gives other outputs.
        """
        size = path.stat().st_size
        if size != expected:
            raise ArtifactError(f"{path} has {size} bytes but its cost was {expected:.0f}; this is a bug of mpsearch")
        loaded, scored = self.read(path).install(model), install(model, layers, parts)
        with torch.no_grad():
            if not torch.equal(call(loaded, inputs), call(scored, inputs)):
                raise ArtifactError(f"{path}, read back, gives other outputs than the network that was scored; this is a bug of mpsearch")


def restricted(space: ResolvedSpace, target: Target, methods: Sequence[StoredAs]) -> tuple[ResolvedSpace, tuple[str, ...]]:
    """The space without the choices that the target cannot hold as every one of the methods would store them, and a line on each kind.

    Raises:
        SpaceError: nothing is left of a layer's menu.
    """
    menus: list[tuple[Choice, ...]] = []
    said: dict[str, None] = {}
    for layer, menu in zip(space.layers, space.menus, strict=True):
        why = {choice: _refusal(target, layer, choice, methods) for choice in menu}
        kept = tuple(choice for choice in menu if not why[choice])
        if not kept:
            raise SpaceError(f"layer '{layer.name}': target '{target.name}' can hold none of its menu ({why[menu[0]]}); widen the menu")
        said |= dict.fromkeys(reason for reason in why.values() if reason)
        menus.append(kept)
    return (replace(space, menus=tuple(menus)), tuple(said)) if said else (space, ())


def _refusal(target: Target, layer: Layer, choice: Choice, methods: Sequence[StoredAs]) -> str:
    reasons = (target.refuses(layer, stored, choice.activation) for stores in methods if (stored := stores(choice.weight)) is not None)
    return next((reason for reason in reasons if reason), "")
