"""`PackedFile`: the checked content of a packed file, with tensors as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file
from mpsearch.targets.description import Description
from mpsearch.targets.packed import layout

__all__ = ["PackedFile", "read_file"]


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """The content of one file.

    Args:
        description: network and formats.
        tensors: raw bytes by tensor name.
        shapes: (safetensors dtype, shape) by tensor name.
    """

    description: Description
    tensors: Mapping[str, bytes]
    shapes: Mapping[str, tuple[str, tuple[int, ...]]]


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
    try:
        description = Description.read(metadata)
    except ValueError as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    shapes = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    return PackedFile(description=description, tensors=tensors, shapes=shapes)
