"""`Handover`: writes a network, its numbers and its formats for another tool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import Parts
from mpsearch.targets.blueprint import Blueprint

__all__ = ["Handover"]


class Handover(ABC):
    """Base class of all hand-over formats."""

    name: ClassVar[str]
    description: ClassVar[str]
    """One line for `mpsearch list`."""

    @abstractmethod
    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Why the format cannot say a layer's stored formats; "" if it can."""

    @abstractmethod
    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """The files: `out`, and others beside it.

        Args:
            out: as the user asks for it.
            blueprint: of the network.
            parts: its numbers, in formats that are not refused.

        Raises:
            ModelError: the network cannot be exported, or the files would not compute it.
            ConfigError: a package of an extra is not installed.
        """
