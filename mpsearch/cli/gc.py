"""`mpsearch gc`: room for new checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from mpsearch.cli.options import consoles
from mpsearch.core.errors import ConfigError
from mpsearch.core.files import is_file

__all__ = ["gc"]

_VARIABLE = "MPSEARCH_STORAGE"


@click.command(short_help="Remove checkpoints of trials that have ended.")
@click.argument("run", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--storage", metavar="URL", envvar=_VARIABLE, help="Where the study is, unless in the run directory RUN.")
@click.option("--study", "name", metavar="NAME", help="Its name there, if there are several.")
@click.option("--artifacts", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="What workers share, as seen here.")
def gc(run: Path | None, storage: str | None, name: str | None, artifacts: Path | None) -> None:
    """Remove what workers have kept of trials that have ended; never what a trial under way or a worker who joins needs."""
    if run is not None:
        if not is_file(run / "study.db"):
            raise ConfigError(f"{run} holds no study.db; pass the run directory of a study, or the --storage it was begun with")
        storage = f"sqlite:///{run / 'study.db'}"
    if storage is None:
        raise ConfigError(f"pass a run directory, --storage URL or the variable {_VARIABLE}")

    from mpsearch.study.unneeded import remove_unneeded

    results, _ = consoles()
    files, size = remove_unneeded(storage, name, artifacts)
    results.print(f"{files:,} checkpoints removed, {size:,} bytes")
