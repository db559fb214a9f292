"""Named YAML files (studies, spaces, hardware): those of mpsearch, and those in a folder of the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.files import is_file

__all__ = ["find_yaml", "shipped_folder", "shipped_names"]

_SUFFIXES = (".yaml", ".yml")


def shipped_folder(folder: str) -> Path:
    """The folder `spaces`, `studies` or `hardware` that is part of mpsearch.

    An installed wheel is always unpacked, so a path suffices.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def shipped_names(folder: str) -> tuple[str, ...]:
    """Names that need no path, sorted: shipped files and those in the folder of the working directory."""
    places = (Path(folder), shipped_folder(folder))
    return tuple(sorted({file.stem for place in places if place.is_dir() for file in place.iterdir() if file.suffix in _SUFFIXES}))


def find_yaml(kind: str, folder: str, reference: str) -> Path:
    """Find the file that a name or path refers to.

    Args:
        kind: word for messages, such as `study`.
        folder: folder of named files, such as `studies`.
        reference: a name such as `weights-only`, or a path that ends with `.yaml` or `.yml`.

    Raises:
        ConfigError: there is no file at the path.
        UnknownNameError: there is no file of that name.
        ConfigError: the working directory has another file of the name of a shipped one.
    """
    if reference.endswith(_SUFFIXES) or "/" in reference or "\\" in reference:
        path = Path(os.path.expanduser(reference))
        if is_file(path):
            return path
        known = shipped_names(folder)
        advice = (
            f"the name of the shipped {kind} is '{path.stem}'" if path.stem in known else f"give a YAML file or one of {', '.join(known)}"
        )
        raise ConfigError(f"there is no {kind} file '{reference}'; {advice}")
    shipped, own = (_named(place, reference) for place in (shipped_folder(folder), Path(folder)))
    found = shipped or own
    if found is None:
        raise UnknownNameError(kind, reference, shipped_names(folder))
    if own is not None and own.read_bytes() != found.read_bytes():
        # A name must not mean another file, and the code that it names, because of where the command is typed.
        raise ConfigError(f"the {kind} '{reference}' is one of mpsearch and one of this folder; give {own} for yours, or rename it")
    return found


def _named(place: Path, name: str) -> Path | None:
    return next((path for suffix in _SUFFIXES if is_file(path := place / f"{name}{suffix}")), None)
