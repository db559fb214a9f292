"""`PackedFile`: the checked content of a packed file, with tensors as bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file
from mpsearch.core.number_format import FLOAT, Granularity
from mpsearch.targets.packed import layout

__all__ = ["PackedFile", "checked_file", "layer_name", "read_file"]


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """The content of one file.

    Args:
        model: registered name or `package.module:factory`; empty for a module given as an object.
        options: keyword arguments of the factory.
        wiring: module, parameter, folded norm and aliases of each layer.
        tensors: raw bytes by tensor name.
        bits: three characters per layer, see `layout`.
        formats: one letter per layer, see `layout`.
        shapes: (safetensors dtype, shape) by tensor name.
        granularity: what shares a scale, one entry per layer; empty if all scales are per output channel.
        wide: numbers of the layers whose scales and folded biases are float32.
        axes: number of a layer → axes of its output channels, where the module's class does not tell them; ascending.
    """

    model: str
    options: Mapping[str, Any]
    wiring: Sequence[Sequence[str]]
    tensors: Mapping[str, bytes]
    bits: str
    formats: str
    shapes: Mapping[str, tuple[str, tuple[int, ...]]]
    granularity: Sequence[Granularity] = ()
    wide: frozenset[int] = frozenset()
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return Allocation({layer_name(*wire[:2]): self.choice(index) for index, wire in enumerate(self.wiring)})

    def choice(self, index: int) -> Choice:
        """The stored formats of one layer."""
        bits = self.bits[3 * index : 3 * index + 3]
        input = layout.input_format(bits[1], bits[2])
        granularity = self.granularity[index] if self.granularity else "channel"
        return Choice(layout.weight_format(bits[0], self.formats[index], granularity), FLOAT if input is None else input[0])


def read_file(path: Path) -> PackedFile:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or is not an mpsearch artifact.
    """
    from safetensors import SafetensorError, deserialize, safe_open

    if not is_file(path):
        raise ArtifactError(f"no artifact at {path}; give the path of a model.safetensors that 'mpsearch study' wrote")
    try:
        with safe_open(str(path), framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
        entries = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is truncated or no safetensors file ({error}); export it again") from error
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(
            f"{path} is no mpsearch artifact (its metadata lack format={layout.VERSION}); give a file that 'mpsearch export' wrote"
        )
    tensors = {name: bytes(entry["data"]) for name, entry in entries.items()}
    if metadata.get("digest") != layout.file_digest(metadata, tensors):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    shapes = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    try:
        return checked_file(path, layout.decompress(metadata["model"]), metadata["bits"], metadata["formats"], tensors, shapes)
    except (KeyError, ValueError) as error:
        raise _unreadable(path, error) from error


def checked_file(
    path: Path,
    plain: Mapping[str, Any],
    bits: str,
    formats: str,
    tensors: Mapping[str, bytes],
    shapes: Mapping[str, tuple[str, tuple[int, ...]]],
) -> PackedFile:
    """The content of a file from its metadata, which a forger may have written with a correct digest.

    Args:
        path: of the file.
        plain: the metadata `model`, unpacked.
        bits: the metadata `bits`.
        formats: the metadata `formats`.
        tensors: raw bytes by tensor name.
        shapes: (safetensors dtype, shape) by tensor name.

    Raises:
        ArtifactError: they describe no model.
    """
    try:
        model, options, wiring = str(plain["model"]), dict(plain["options"]), plain["layers"]
        granularity = tuple(plain.get("granularity", ()))
        axes = {int(index): _axes(given) for index, given in plain.get("axes", {}).items()}
        _check_spelling(wiring, bits, formats, granularity)
        wide = _layer_numbers(plain.get("wide", []), len(wiring))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path, error) from error
    return PackedFile(
        model=model,
        options=options,
        wiring=wiring,
        tensors=tensors,
        bits=bits,
        formats=formats,
        shapes=shapes,
        granularity=granularity,
        wide=wide,
        axes=axes,
    )


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{path} describes no model that can be read ({error}); export it again")


def _axes(given: Any) -> tuple[int, ...]:
    axes = tuple(given)
    if not all(type(axis) is int and axis >= 0 for axis in axes) or list(axes) != sorted(set(axes)):
        raise ValueError(f"{given!r} are no axes")
    return axes


_BITS = re.compile(f"(?:[1-8-](?:[2-8][{layout.INPUT_LETTERS}]|--))*")


def _check_spelling(wiring: Any, bits: str, formats: str, granularity: Sequence[Any]) -> None:
    """Validate layers, bits and formats, since a forged file can have a correct digest."""
    if not isinstance(wiring, list) or not all(
        isinstance(wire, list) and len(wire) >= 3 and all(isinstance(word, str) for word in wire) for wire in wiring
    ):
        raise ValueError("its layers are no lists of names")
    if len(bits) != 3 * len(wiring) or len(formats) != len(wiring) or not _BITS.fullmatch(bits):
        raise ValueError(f"bits '{bits}' and formats '{formats}' are not those of {len(wiring)} layers")
    for letter, weight_bits, shared in zip(formats, bits[::3], granularity or ["channel"] * len(wiring), strict=True):
        layout.weight_format(weight_bits, letter, shared)


def _layer_numbers(numbers: Any, layers: int) -> frozenset[int]:
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < layers for number in numbers):
        raise ValueError(f"its wide layers are no numbers of {layers} layers")
    return frozenset(numbers)


def layer_name(module: str, parameter: str) -> str:
    """Name of the layer whose weight is `parameter` of `module`."""
    return module if parameter == "weight" and module else f"{module}.{parameter}".lstrip(".")
