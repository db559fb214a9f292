"""`PackedFile`: the checked content of a packed file, whose tensors are read when they are asked for."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file
from mpsearch.targets.description import Description
from mpsearch.targets.packed import layout

__all__ = ["PackedFile", "Tensors", "read_file"]


class Tensors(Mapping[str, bytes]):
    """The tensors of a file as raw bytes by name.

    Args:
        source: the file, or bytes.
        spans: (start, end) in it by name.
    """

    def __init__(self, source: Path | bytes, spans: Mapping[str, tuple[int, int]]) -> None:
        self._source, self._spans = source, spans
        self._state = _state(source.stat()) if isinstance(source, Path) else None

    @classmethod
    def held(cls, tensors: Mapping[str, bytes]) -> Tensors:
        """Tensors that are in memory."""
        ends = list(itertools.accumulate(map(len, tensors.values())))
        return cls(b"".join(tensors.values()), dict(zip(tensors, zip([0, *ends], ends, strict=False), strict=True)))

    def __getitem__(self, name: str) -> bytes:
        with self.open() as stream:
            return self.read(stream, name, 0, self.size(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def size(self, name: str) -> int:
        """Bytes of a tensor; 0 if there is none of that name."""
        start, end = self._spans.get(name, (0, 0))
        return end - start

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, for `read`.

        Raises:
            ArtifactError: it is gone, or is not what was checked.
        """
        if isinstance(self._source, bytes):
            yield BytesIO(self._source)
            return
        try:
            with self._source.open("rb") as stream:
                if _state(os.fstat(stream.fileno())) != self._state:
                    raise ArtifactError(f"{self._source} was changed while it was read; read it again")
                yield stream
        except OSError as error:
            raise ArtifactError(f"{self._source} cannot be read any more ({error.strerror}); get it again") from error

    def read(self, stream: BinaryIO, name: str, start: int, count: int) -> bytes:
        """`count` bytes of a tensor from its byte `start` on; fewer at its end."""
        first, end = self._spans.get(name, (0, 0))
        stream.seek(min(first + start, end))
        return stream.read(min(count, max(end - first - start, 0)))


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """The content of one file.

    Args:
        description: network and formats.
        tensors: raw bytes by tensor name, read when they are asked for.
        shapes: (safetensors dtype, shape) by tensor name.
    """

    description: Description
    tensors: Tensors
    shapes: Mapping[str, tuple[str, tuple[int, ...]]]


def read_file(path: Path) -> PackedFile:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or is not an mpsearch artifact.
    """
    from safetensors import SafetensorError, safe_open

    if not is_file(path):
        raise ArtifactError(f"no artifact at {path}; give the path of a model.safetensors that 'mpsearch study' wrote")
    try:
        with safe_open(str(path), framework="np") as file:  # checks types, shapes and offsets
            metadata: dict[str, str] = file.metadata() or {}
        entries, begin = _header(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is truncated or no safetensors file ({error}); export it again") from error
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(
            f"{path} is no mpsearch artifact (its metadata lack format={layout.VERSION}); give a file that 'mpsearch export' wrote"
        )
    tensors = Tensors(path, {name: (begin + first, begin + end) for name, (_, _, (first, end)) in entries.items()})
    if metadata.get("digest") != layout.file_digest(metadata, tensors):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        description = Description.read(metadata)
    except ValueError as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    shapes = {name: (dtype, shape) for name, (dtype, shape, _) in entries.items()}
    return PackedFile(description=description, tensors=tensors, shapes=shapes)


def _header(path: Path) -> tuple[dict[str, tuple[str, tuple[int, ...], tuple[int, int]]], int]:
    """(dtype, shape, offsets) of each tensor, and where in the file the offsets count from."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        document = json.loads(stream.read(length))
    document.pop("__metadata__", None)
    found = {
        name: (str(entry["dtype"]), tuple(map(int, entry["shape"])), (int(entry["data_offsets"][0]), int(entry["data_offsets"][1])))
        for name, entry in document.items()
    }
    return found, 8 + length
