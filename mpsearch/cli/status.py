"""`mpsearch status`: what the workers of a study are at."""

from __future__ import annotations

from pathlib import Path

import click

from mpsearch.cli.options import consoles
from mpsearch.core.errors import ConfigError
from mpsearch.core.files import is_file

__all__ = ["status"]

_VARIABLE = "MPSEARCH_STORAGE"


@click.command(short_help="Workers, trials, the best and the expected end of a study.")
@click.argument("run", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--storage", metavar="URL", envvar=_VARIABLE, help="Where the study is, unless in the run directory RUN.")
@click.option("--study", "name", metavar="NAME", help="Its name there, if there are several.")
def status(run: Path | None, storage: str | None, name: str | None) -> None:
    """Show what the workers of a study are at: of the run directory RUN, or of a storage."""
    if run is not None:
        if not is_file(run / "study.db"):
            raise ConfigError(f"{run} holds no study.db; pass the run directory of a study, or the --storage it was begun with")
        storage = f"sqlite:///{run / 'study.db'}"
    if storage is None:
        raise ConfigError(f"pass a run directory, --storage URL or the variable {_VARIABLE}")

    from mpsearch.report.terminal import status_table
    from mpsearch.study.status import status_of

    results, _ = consoles()
    results.print(status_table(status_of(storage, name)))
