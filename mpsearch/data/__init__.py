"""Data sets and how they are split; one file a source. `mpsearch list data` shows the sources."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mpsearch.core.progress import Progress, Silent
from mpsearch.core.registry import Registry
from mpsearch.data.base import DatasetSplit, LoaderSplit, Split, Splits, Stream, TensorSplit, as_split
from mpsearch.data.cache import cache_directory
from mpsearch.data.source import DataSource, option_error

__all__ = [
    "DATA",
    "DataSource",
    "DatasetSplit",
    "LoaderSplit",
    "Split",
    "Splits",
    "Stream",
    "TensorSplit",
    "as_split",
    "cache_directory",
    "load_data",
]

DATA: Registry[type[DataSource]] = Registry("data source", "mpsearch.data")


def load_data(reference: str, *, seed: int = 0, progress: Progress | None = None, **options: Any) -> Splits:
    """Load a data set and split it.

    Args:
        reference: `digits`, `imagefolder:DIR`, or another source, with the source's path after the colon.
        seed: seed of the split.
        progress: receives the progress of long work; silent if not given.
        options: options of the source.

    Raises:
        UnknownNameError: there is no such source.
        ConfigError: the source has no such option, or does not accept its value.
        DataError: the data are missing, broken or too few.
    """
    name, colon, path = reference.partition(":")
    source = DATA[name]
    known = [field.name for field in fields(source)]
    for option in options:
        if option not in known:
            raise option_error(option, f"'{name}' has no such option; it has {', '.join(known)}")
    return source(**options).load(path if colon else None, seed=seed, progress=progress or Silent())
