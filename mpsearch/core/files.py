"""Files: looked at without surprises, and written atomically.

A file is replaced by its new content in one step, so a reader or a killed process sees the old file or the new one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["LEFTOVERS", "file_digest", "is_file", "is_folder", "replacing", "write_bytes", "write_text"]

LEFTOVERS = ".*.part"
"""Pattern of the temporary files that a process killed with SIGKILL may leave in a folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` at the end of the `with`.

    The content reaches the disk before the file is replaced. After an exception nothing is replaced and the temporary file is removed.

    Args:
        path: the file; its folder is created if missing.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically; returns the path."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> Path:
    """Write bytes atomically; returns the path."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; False also for a name that no file can have (too long, or with a null character)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """The same for a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits; "" if there is no file."""
    if not is_file(path):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
