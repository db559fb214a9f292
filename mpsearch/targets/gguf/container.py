"""`Container`: the checked frame of a GGUF file: its metadata and where its tensors lie.

GGUF version 3, little-endian (ggml's `docs/gguf.md`): magic, version, number of tensors, number of keys; keys with typed values; name,
dimensions (the innermost first), type and offset of each tensor; from the next multiple of 32 bytes on, the tensors. A file may be a
stranger's, so every length is checked before anything is read.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file

__all__ = ["ALIGNMENT", "DIGEST", "MAGIC", "PREFIX", "Container", "Tensor", "aligned", "digest_of"]

MAGIC, _VERSION = b"GGUF", 3

ALIGNMENT = 32
"""Tensors begin at multiples of so many bytes."""

PREFIX = "mpsearch."
"""Of the keys that are ours."""

DIGEST = f"{PREFIX}digest"
"""Key of the digest over everything else."""

_DIGITS = 32
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Number of a type of value → its bytes."""

_MOST_AXES = 4
_PART = 2**24


def aligned(position: int) -> int:
    """The next multiple of the alignment."""
    return -(-position // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where a tensor lies.

    Args:
        shape: as in torch, the innermost axis last.
        type: number of ggml's type.
        start: byte in the file.
    """

    shape: tuple[int, ...]
    type: int
    start: int


@dataclass(frozen=True, kw_only=True)
class Container:
    """The frame of a file.

    Args:
        path: of the file.
        ours: the texts under our keys, without the prefix.
        tensors: by name.
        size: bytes of the file.
    """

    path: Path
    ours: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    size: int

    @classmethod
    def read(cls, path: Path) -> Container:
        """Read the frame and check the digest.

        Raises:
            ArtifactError: the file is missing, truncated, was tampered with, or was not written by mpsearch.
        """
        if not is_file(path):
            raise ArtifactError(f"no artifact at {path}; give the path of a model.gguf that 'mpsearch study --target gguf' wrote")
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                frame = _Cursor(content).frame(path)
                given = frame.ours.get("digest", "")
                if given and given != digest_of(content, given.encode()):
                    raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
        except (ValueError, struct.error, OSError) as error:
            raise ArtifactError(f"{path} is truncated or no GGUF file ({error}); export it again") from error
        if not given:
            raise ArtifactError(f"{path} was not written by mpsearch (it lacks the key {DIGEST}); give a file of the target gguf")
        return frame

    def bytes_of(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a tensor.

        Raises:
            ArtifactError: the file has no such tensor, or fewer bytes.
        """
        found = self.tensors.get(name)
        if found is None or found.start + size > self.size:
            raise ArtifactError(f"{self.path} lacks the tensor '{name}' of this model; give the model it was made from")
        with self.path.open("rb") as file:
            file.seek(found.start)
            return file.read(size)


def digest_of(content: bytes | bytearray | mmap.mmap, given: bytes) -> str:
    """32 hexadecimal digits over a file, its own digest taken for zeros.

    Args:
        content: of the file.
        given: the digest that stands in it.

    Raises:
        ValueError: it stands nowhere behind its key.
    """
    key = content.find(DIGEST.encode())
    start = key + len(DIGEST) + 4 + 8  # the type of the value, its length
    if key < 0 or content[start : start + _DIGITS] != given:
        raise ValueError("its digest is not where it should be")
    state = hashlib.blake2b(digest_size=_DIGITS // 2)
    state.update(content[:start])
    state.update(b"0" * _DIGITS)
    for position in range(start + _DIGITS, len(content), _PART):
        state.update(content[position : position + _PART])
    return state.hexdigest()


class _Cursor:
    """Reads a frame, and never beyond the end.

    Raises:
        ValueError: a length, type or number that no sound file has.
    """

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._position = content, 0

    def frame(self, path: Path) -> Container:
        if self._bytes(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, tensors, keys = self._numbers("<IQQ")
        if version != _VERSION:
            raise ValueError(f"version {version} of the format, not {_VERSION}")
        ours: dict[str, str] = {}
        for _ in range(self._count(keys, 13)):
            key, (type,) = self._text(), self._numbers("<I")
            if key.startswith(PREFIX) and type == _STRING:
                ours[key.removeprefix(PREFIX)] = self._text()
            else:
                self._skip_value(type)
        infos = [self._tensor() for _ in range(self._count(tensors, 24))]
        start, size = aligned(self._position), len(self._content)
        found = {name: Tensor(shape=shape, type=type, start=start + offset) for name, shape, type, offset in infos}
        if len(found) != len(infos) or any(each.start > size for each in found.values()):
            raise ValueError("its tensors lie beyond its end, or have the same name")
        return Container(path=path, ours=ours, tensors=found, size=size)

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, (axes,) = self._text(), self._numbers("<I")
        if not 0 < axes <= _MOST_AXES:
            raise ValueError(f"a tensor of {axes} axes")
        shape = self._numbers(f"<{axes}Q")
        type, offset = self._numbers("<IQ")
        return name, tuple(reversed(shape)), type, offset

    def _skip_value(self, type: int) -> None:
        if type == _STRING:
            self._skip(self._numbers("<Q")[0])
        elif type == _ARRAY:
            (inner, count) = self._numbers("<IQ")
            if inner == _STRING:
                for _ in range(self._count(count, 8)):
                    self._skip(self._numbers("<Q")[0])
            else:
                self._skip(count * self._size(inner))
        else:
            self._skip(self._size(type))

    def _size(self, type: int) -> int:
        if type not in _SIZES:
            raise ValueError(f"a value of type {type}")
        return _SIZES[type]

    def _count(self, count: int, least: int) -> int:
        """A number of things of at least so many bytes each, which the rest of the file can hold."""
        if count * least > len(self._content) - self._position:
            raise ValueError(f"{count} entries do not fit into it")
        return count

    def _text(self) -> str:
        return self._bytes(self._numbers("<Q")[0]).decode()

    def _numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))

    def _bytes(self, count: int) -> bytes:
        start = self._position
        self._skip(count)
        return self._content[start : self._position]

    def _skip(self, count: int) -> None:
        if count > len(self._content) - self._position:
            raise ValueError("it ends early")
        self._position += count
