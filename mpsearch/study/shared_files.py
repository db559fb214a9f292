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
from mpsearch.study.bucket import S3, Bucket

__all__ = ["SharedFiles"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class SharedFiles:
    """Files at a place that all workers of a study can read and write.

    Args:
        place: a folder, created if missing, or `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: it is no such place.
    """

    def __init__(self, place: str | Path) -> None:
        self._store: Bucket | _Folder = Bucket(str(place)) if str(place).startswith(S3) else _Folder(Path(place).absolute())
        self.place = str(place) if isinstance(self._store, Bucket) else str(Path(place).absolute())

    def put(self, path: Path) -> str:
        """Add a file; returns its name in the store.

        Raises:
            ConfigError: the store cannot be written, or is full.
        """
        digest = file_digest(path)
        try:
            there = self._whole(digest) is not None
        except OSError:  # what cannot be read may still be written
            there = False
        if not there:
            try:
                self._store.write(digest, path)
            except OSError as error:
                raise ConfigError(
                    f"artifacts: {self.place} cannot be written ({error.strerror or error}); make room there, or give another --artifacts"
                ) from error
        return digest

    def fetch(self, digest: str, path: Path) -> bool:
        """Write a file of the store to `path`; returns whether the store has it, whole.

        Raises:
            ConfigError: the store cannot be read.
        """
        try:
            content = self._whole(digest)
        except OSError as error:
            raise self._unreadable(error) from error
        if content is not None:
            write_bytes(path, content)
        return content is not None

    def names(self) -> set[str]:
        """The files in the store.

        Raises:
            ConfigError: the store cannot be read.
        """
        try:
            return {name for name in self._store.names() if _DIGEST.fullmatch(name)}
        except OSError as error:
            raise self._unreadable(error) from error

    def remove(self, digest: str) -> int:
        """Remove a file; returns its bytes.

        Raises:
            OSError: it cannot be removed.
        """
        return self._store.remove(digest)

    def _whole(self, digest: str) -> bytes | None:
        content = self._store.read(digest) if _DIGEST.fullmatch(digest) else None
        return content if content is not None and hashlib.sha256(content).hexdigest() == digest else None

    def _unreadable(self, error: OSError) -> ConfigError:
        return ConfigError(f"artifacts: {self.place} cannot be read ({error.strerror or error}); mend that, or give another --artifacts")


class _Folder:
    """A folder, with the methods of `Bucket`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FileSystemArtifactStore(folder)

    def read(self, name: str) -> bytes | None:
        try:
            with self._store.open_reader(name) as stream:
                return stream.read()
        except ArtifactNotFound:
            return None

    def write(self, name: str, path: Path) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as content:
                self._store.write(name, content)
        except OSError:
            with suppress(OSError):  # half of it would take the room that is missing
                (self._folder / name).unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> int:
        size = (self._folder / name).stat().st_size
        with suppress(ArtifactNotFound):
            self._store.remove(name)
        return size

    def names(self) -> set[str]:
        return {entry.name for entry in self._folder.iterdir()} if self._folder.is_dir() else set()
