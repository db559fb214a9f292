"""`Target`: a file format for a runtime: what it supports, reading and checking; `Writer`: writes the files of one network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError, ConfigError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.baked import Parts, install
from mpsearch.network.inputs import call, to_device
from mpsearch.network.survey import Survey
from mpsearch.targets.blueprint import Blueprint
from mpsearch.tasks.outputs import most_samples_differ_by, same_values

__all__ = ["Artifact", "Target", "Writer", "restricted"]


_CPU = torch.device("cpu")

_ROUNDING = 1e-4
"""Relative difference that other orders of float sums may make, in the median over samples: where a sum is close to the middle between two
codes, rounding decides which of them an activation gets, and single samples differ by more."""

_APPROXIMATE = 0.5
"""The same for runtimes that compute otherwise than torch, such as in integers; beyond it the graph must be another network's."""


class Artifact(ABC):
    """The content of a file: the architecture and its numbers."""

    model: str
    """Registered name or `package.module:factory`; empty for a module given as an object."""
    options: Mapping[str, Any]
    """Keyword arguments of the factory."""
    bits: int
    """Bits of all numbers in the file: no network that it holds has more numbers than that."""

    @property
    @abstractmethod
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""

    @abstractmethod
    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """

    @abstractmethod
    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the float architecture with the numbers installed, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """

    def executed(self) -> nn.Module | None:
        """The file as the target's runtime executes it, called like the network; None where torch does, by `install`.

        None, too, where the runtime of a target that is not exact is not installed.

        Raises:
            ArtifactError: the runtime refuses the file.
        """
        return None


class Writer(ABC):
    """Writes the files of one network.

    Sizes are known beforehand and exact: for every allocation a file has `overhead_bytes + Σ layer_bytes` bytes.
    """

    @property
    @abstractmethod
    def overhead_bytes(self) -> int:
        """Bytes of the file that do not depend on the allocation: the header, the graph and everything that stays float."""

    @abstractmethod
    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Bytes of the file for one layer in these stored formats."""

    @abstractmethod
    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically; returns the bytes that the budget limits, see `Target.deployed_bytes`."""


class Target(ABC):
    """Base class of all targets."""

    name: ClassVar[str]
    description: ClassVar[str]
    """One line for `mpsearch list`."""
    file: ClassVar[str]
    """File name of the artifact in a run directory."""
    exact: ClassVar[bool] = True
    """Whether the runtime computes the scored network, to rounding. If not, a run scores what the runtime computes on the test split."""
    place: ClassVar[str] = "on disk"
    """Where the bytes lie that the budget limits."""
    mixes_granularities: ClassVar[bool] = False
    """Whether formats of one layer may differ in what shares a scale."""
    fuses_roundings: ClassVar[bool] = False
    """Whether the runtime takes a layer and the rounding of its output, for the next layer, as one operation."""

    rounds_edges: ClassVar[bool] = False
    """Whether the runtime wants outputs rounded before they are added, to compute layers in integers."""

    def layers(self, surveyed: Survey) -> tuple[Layer, ...]:
        """The layers of a network with what the runtime wants of them beside their own bits."""
        return surveyed.layers

    @abstractmethod
    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Why the file cannot store a layer in these stored formats; "" if it can."""

    @abstractmethod
    def writer(self, blueprint: Blueprint) -> Writer:
        """What writes the network of a blueprint.

        Raises:
            ModelError: the file cannot hold this network, whatever its formats.
            ConfigError: a package of an extra is not installed.
        """

    def recognises(self, path: Path) -> bool:
        """Whether a file has this target's format; by default the suffix decides."""
        return path.suffix == Path(self.file).suffix

    @abstractmethod
    def read(self, path: Path) -> Artifact:
        """Read and check a file.

        Raises:
            ArtifactError: the file is missing, truncated, was tampered with, or has another format.
        """

    def deployed_bytes(self, path: Path) -> int:
        """Bytes that a file takes where it runs, which the budget limits; by default those on disk."""
        return path.stat().st_size

    def companions(self, path: Path) -> Mapping[str, str]:
        """Further text files by name that a user of the file needs beside it, such as a header; by default none.

        Raises:
            ArtifactError: the file is damaged.
        """
        return {}

    def timed_in(self, threads: int) -> str:
        """Name and version of the runtime in which latency is measured on this machine, such as `onnxruntime 1.32.0`.

        Raises:
            ConfigError: latency is not measured for this target, the runtime is not installed, or it cannot have so many threads.
        """
        raise ConfigError(f"target '{self.name}' has no runtime in which latency is measured; use onnx, onnx-qdq or c", path="target")

    def prepared(self, path: Path, inputs: Any, threads: int) -> Callable[[], object]:
        """A file, loaded in the runtime with its inputs at hand: each call of the result computes the batch once.

        Args:
            path: of the file.
            inputs: one batch, as the network takes it.
            threads: of the runtime.

        Raises:
            ArtifactError: the runtime refuses the file.
            ConfigError: see `timed_in`.
        """
        raise ConfigError(f"target '{self.name}' has no runtime in which latency is measured; use onnx, onnx-qdq or c", path="target")

    def verify(self, path: Path, parts: Parts, model: nn.Module, layers: Sequence[Layer], inputs: Any, expected: float) -> float | None:
        """Check that a written file has the promised size and reproduces the outputs of the scored network.

        Read back, it reproduces them bit for bit; in its runtime to rounding, if the target is exact, else roughly.

        Args:
            path: of the file.
            parts: the numbers it was written from.
            model: float architecture.
            layers: as traced.
            inputs: one batch, on the model's device.
            expected: size cost of its allocation, in bytes.

        Returns:
            By how much the runtime's outputs differ: of the largest output, in the median over samples; 0 where torch is the runtime, None
            where the runtime is not installed.

        Raises:
            ArtifactError: the size or the outputs differ.
        """
        size = self.deployed_bytes(path)
        if size != expected:
            raise ArtifactError(f"{path} has {size} bytes but its cost was {expected:.0f}; this is a bug of mpsearch")
        artifact, scored = self.read(path), install(model, layers, parts)
        with torch.no_grad():
            outputs = call(scored, inputs)
            if not same_values(call(artifact.install(model), inputs), outputs):
                raise ArtifactError(f"{path}, read back, gives other outputs than the network that was scored; this is a bug of mpsearch")
            runtime = artifact.executed()
            if runtime is None:
                return 0.0 if self.exact else None
            differ = most_samples_differ_by(call(runtime, to_device(inputs, _CPU)), outputs)
        if not differ <= (_ROUNDING if self.exact else _APPROXIMATE):  # also where it is NaN
            raise ArtifactError(
                f"{path} gives outputs in its runtime that differ by {differ:.1g} of the largest from those of the scored network; "
                f"use --target {'packed' if self.exact else 'onnx'}, and tell us about the network"
            )
        return differ


class Stores(Protocol):
    """What `restricted` asks of a method: format on a menu → format in the file; None if the method cannot train it."""

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """The format of a weight."""

    def stores_input(self, asked: NumberFormat) -> NumberFormat | None:
        """The format of a layer's input."""


def restricted(space: ResolvedSpace, target: Target, methods: Sequence[Stores]) -> tuple[ResolvedSpace, tuple[str, ...]]:
    """Remove the choices that the target cannot store for some method; returns the space and the distinct reasons.

    Raises:
        SpaceError: no choice is left on a layer's menu.
    """
    menus: list[tuple[Choice, ...]] = []
    reasons: dict[str, None] = {}
    for layer, menu in zip(space.layers, space.menus, strict=True):
        why = {choice: _reason_against(target, layer, choice, methods) for choice in menu}
        kept = tuple(choice for choice in menu if not why[choice])
        if not kept:
            raise SpaceError(f"layer '{layer.name}': target '{target.name}' can hold none of its menu ({why[menu[0]]}); widen the menu")
        reasons |= dict.fromkeys(reason for reason in why.values() if reason)
        menus.append(kept)
    cut = replace(space, menus=tuple(menus)) if reasons else space
    _check_granularities(cut, target)
    return cut, tuple(reasons)


def _check_granularities(space: ResolvedSpace, target: Target) -> None:
    for row, layer in enumerate(space.layers):
        if not target.mixes_granularities and len(found := space.granularities(row)) > 1:
            raise SpaceError(
                f"layer '{layer.name}': its menu has scales by {' and '.join(map(str, found))}, and target '{target.name}' takes one "
                "kind a layer; choose one, or --target packed"
            )


def _reason_against(target: Target, layer: Layer, choice: Choice, methods: Sequence[Stores]) -> str:
    stored = ((method.stores(choice.weight), method.stores_input(choice.activation)) for method in methods)
    found = (target.refuses(layer, weight, input) for weight, input in stored if weight is not None and input is not None)
    return next((reason for reason in found if reason), "")
