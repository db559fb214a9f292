"""`Ledger`: the results of a run, one file each, which are read back instead of computed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import file_digest, write_text
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.record import Record
from mpsearch.data.fingerprint import content_digest
from mpsearch.run.clock import Clock
from mpsearch.run.directory import CLAIM, IDENTITY
from mpsearch.run.read_back import read_back, read_json

__all__ = ["Ledger", "read_result"]

T = TypeVar("T")


class Ledger:
    """The files of a run directory, and the clock of the run.

    Each file belongs to one stage. A stage that is called again in the same directory reads its result; later stages get the result as an
    argument and do not read the file. A file says what its result was made from; a result that was made from something else, and a damaged
    one, is computed again, and a line says so.

    Args:
        directory: run directory, which exists.
        progress: gets those lines.
    """

    def __init__(self, directory: Path, progress: Progress | None = None) -> None:
        self.directory = directory
        self.say = (progress or Silent()).say
        self.clock = Clock(directory, self.say)
        self._identity: Mapping[str, str] = {}

    def path(self, name: str) -> Path:
        """Path of a file of the run."""
        return self.directory / name

    def identify(self, identity: Mapping[str, str]) -> None:
        """Tie the run to what it was begun with.

        Args:
            identity: part, such as `network` → its digest.

        Raises:
            RunDirectoryError: the run was begun with something else.
        """
        begun: dict[str, str] | None = read_back(self.path(IDENTITY), _unsealed, self.say)
        changed = [part for part, digest in identity.items() if begun is not None and begun.get(part) != digest]
        if changed:
            raise RunDirectoryError(
                f"{self.directory}: {' and '.join(changed)} changed since the run was begun; undo that, or give another --run-dir"
            )
        if begun is None:
            write_text(self.path(IDENTITY), json.dumps(_sealed(dict(identity))))
        self._identity = identity
        self.check()

    def check(self) -> None:
        """Check that the run directory is still there.

        Raises:
            RunDirectoryError: it was deleted, and perhaps made again.
        """
        if self._identity and not self.path(CLAIM).exists():
            raise RunDirectoryError(f"{self.directory} was deleted while the run worked in it; repeat the command to start again")

    def made_from(self, *parts: object) -> str:
        """Digest of what a result is made from: the run's identity, and more in JSON data or dataclasses of it."""
        return content_digest([sorted(self._identity.items()), *parts])

    def read(self, name: str, load: Callable[[Any], T], *, made_from: str = "") -> T | None:
        """The result in a JSON file; None if there is none that was made from the same.

        Args:
            name: file name.
            load: JSON data → result.
            made_from: see `made_from`.
        """
        found = read_back(self.path(name), lambda document: (document["made_from"], load(_unsealed(document))), self.say)
        if found is not None and found[0] != (made_from or self.made_from()):
            self.say(f"{name} was made from something else; it is computed again")
            return None
        return None if found is None else found[1]

    def write(self, name: str, document: Any, *, made_from: str = "") -> None:
        """Write the JSON data of a result to a JSON file, atomically.

        Raises:
            RunDirectoryError: the run directory is gone.
        """
        self.check()
        write_text(self.path(name), json.dumps({"made_from": made_from or self.made_from(), **_sealed(document)}))

    def once(self, name: str, compute: Callable[[], T], *, dump: Callable[[T], Any], load: Callable[[Any], T], made_from: str = "") -> T:
        """The result in a JSON file; computed and written if there is none that was made from the same.

        A new result is also taken through its JSON data, so that the run continues with the same data as after an interruption.

        Args:
            name: file name.
            compute: returns the result.
            dump: result → JSON data.
            load: its inverse.
            made_from: see `made_from`.
        """
        if (held := self.read(name, load, made_from=made_from)) is not None:
            return held
        document = dump(compute())
        self.write(name, document, made_from=made_from)
        return load(json.loads(json.dumps(document)))

    def read_record(self, name: str, file: str, *, made_from: str) -> Record | None:
        """The record of a trained network; None if there is none of the same training, or the network's file is not what was written.

        Args:
            name: JSON file of the record.
            file: file of the network.
            made_from: identity of the training.
        """
        held = self.read(name, lambda document: (str(document["digest"]), Record.from_dict(document["record"])), made_from=made_from)
        if held is not None and file_digest(self.path(file)) != held[0]:
            self.say(f"{file} is gone or was damaged; it is made again")
            return None
        return None if held is None else held[1]

    def write_record(self, name: str, file: str, record: Record, *, made_from: str) -> None:
        """Write the record of a trained network whose file has been written."""
        self.write(name, {"digest": file_digest(self.path(file)), "record": record.to_dict()}, made_from=made_from)


def read_result(path: Path, load: Callable[[Any], T]) -> T:
    """The result in a JSON file of a run that has ended, whatever it was made from.

    Args:
        path: the file.
        load: JSON data → result.

    Raises:
        FileNotFoundError: there is nothing.
        RunDirectoryError: the file was damaged or forged.
    """
    return read_json(path, lambda document: load(_unsealed(document)))


def _sealed(document: Any) -> dict[str, Any]:
    """JSON data with their digest: a single wrong bit in a number is damage as well."""
    return {"result": document, "digest": content_digest([json.dumps(document)])}


def _unsealed(document: Any) -> Any:
    if content_digest([json.dumps(document["result"])]) != document["digest"]:
        raise ValueError("its digest does not match its content")
    return document["result"]
