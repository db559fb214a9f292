"""`shared_study`: the options by which a command finds a study that workers share, in a run directory or in a storage."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mpsearch.core.errors import ConfigError
from mpsearch.core.files import is_file

__all__ = ["shared_study"]

_VARIABLE = "MPSEARCH_STORAGE"


def shared_study(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument RUN and the options `--storage` and `--study`; it is called with `storage`, a URL, and `name`.

    Raises:
        ConfigError: on a call: the folder holds no study, or neither folder nor URL is given.
    """

    @wraps(command)
    def found(run: Path | None, storage: str | None, **others: Any) -> None:
        if run is not None:
            if not is_file(run / "study.db"):
                raise ConfigError(f"{run} holds no study.db; pass the run directory of a study, or the --storage it was begun with")
            storage = f"sqlite:///{run / 'study.db'}"
        if storage is None:
            raise ConfigError(f"pass a run directory, --storage URL or the variable {_VARIABLE}")
        command(storage=storage, **others)

    for option in (
        click.option("--study", "name", metavar="NAME", help="Its name there, if there are several."),
        click.option("--storage", metavar="URL", envvar=_VARIABLE, help="Where the study is, unless in the run directory RUN."),
        click.argument("run", required=False, type=click.Path(path_type=Path), metavar="[RUN]"),
    ):
        found = option(found)
    return found
