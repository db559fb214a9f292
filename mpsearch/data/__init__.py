"""Data: where samples come from and how they are cut; one file a source. See `mpsearch list data`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.registry import Registry
from mpsearch.data.base import DatasetSplit, LoaderSplit, Split, Splits, TensorSplit, as_split
from mpsearch.data.cache import cache_directory
from mpsearch.data.source import DataSource

__all__ = [
    "DATA",
    "DataSource",
    "DatasetSplit",
    "LoaderSplit",
    "Split",
    "Splits",
    "TensorSplit",
    "as_split",
    "cache_directory",
    "load_data",
]

DATA: Registry[type[DataSource]] = Registry("data source", "mpsearch.data")


def load_data(reference: str, *, seed: int = 0, progress: Progress | None = None, **options: Any) -> Splits:
    """Read and cut data by reference.

    Args:
        reference: `digits`, `imagefolder:DIR`, or another source with what it needs after the colon.
        seed: of the cut.
        progress: told of long work; silent if not given.
        options: the source's own.

    Raises:
        UnknownNameError: no such source.
        ConfigError: an option the source does not have, or a value it cannot take.
        DataError: data that are missing, broken or not enough.
    """
    name, colon, path = reference.partition(":")
    source = DATA[name]
    known = [field.name for field in fields(source)]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"data.options.{option}: '{name}' has no such option; it has {', '.join(known)}", path=f"data.options.{option}"
            )
    return source(**options).load(path if colon else None, seed=seed, progress=progress or Silent())
