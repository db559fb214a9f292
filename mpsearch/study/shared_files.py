"""`SharedFiles`: what workers need beside the database, in one of Optuna's artifact stores, by the digest of its content.

A reader that meets a half-written file, or one that another disk has damaged, sees a wrong digest and no file.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from mpsearch.core.errors import ConfigError
from mpsearch.core.files import file_digest, write_bytes

__all__ = ["SharedFiles"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class SharedFiles:
    """Files in a folder that all workers of a study can read and write.

    Args:
        folder: created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = FileSystemArtifactStore(folder)

    def put(self, path: Path) -> str:
        """Add a file; returns its name in the store.

        Raises:
            ConfigError: the folder cannot be written, or is full.
        """
        digest = file_digest(path)
        if self._content(digest) is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with path.open("rb") as content:
                    self._store.write(digest, content)
            except OSError as error:
                with suppress(OSError):
                    (self.folder / digest).unlink(missing_ok=True)
                raise ConfigError(
                    f"artifacts: {self.folder} cannot be written ({error.strerror or error}); make room there, or give another --artifacts"
                ) from error
        return digest

    def fetch(self, digest: str, path: Path) -> bool:
        """Write a file of the store to `path`; returns whether the store has it, whole."""
        content = self._content(digest)
        if content is not None:
            write_bytes(path, content)
        return content is not None

    def names(self) -> set[str]:
        """The files in the store."""
        return {entry.name for entry in self.folder.iterdir() if _DIGEST.fullmatch(entry.name)} if self.folder.is_dir() else set()

    def remove(self, digest: str) -> int:
        """Remove a file; returns its bytes."""
        size = (self.folder / digest).stat().st_size
        with suppress(ArtifactNotFound):
            self._store.remove(digest)
        return size

    def _content(self, digest: str) -> bytes | None:
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            with self._store.open_reader(digest) as stream:
                content = stream.read()
        except (ArtifactNotFound, OSError):
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None
