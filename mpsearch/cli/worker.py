"""`mpsearch worker`: one more process at work on a study."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpsearch.cli.options import command_line, consoles, data_options, read_config, run_options
from mpsearch.core.errors import ConfigError

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["worker"]

_VARIABLE = "MPSEARCH_STORAGE"


@click.command(short_help="Join a study that other processes are at work on.")
@click.option("--storage", metavar="URL", envvar=_VARIABLE, help=f"Where the study is; ${_VARIABLE} keeps a password off the command line.")
@click.option("--study", "name", metavar="NAME", help="Its name there, if there are several.")
@click.option("--artifacts", metavar="DIR", help="What workers share, as seen here: a folder, or s3://BUCKET/PREFIX.")
@click.option("--compile", type=click.Choice(["auto", "on", "off"]), help="torch.compile; auto uses it where it pays.")
@click.option("--trust", is_flag=True, help="Run the code that the study names as its model.")
@data_options
@run_options
def worker(
    storage: str | None, name: str | None, artifacts: str | None, trust: bool, run_dir: Path | None, quiet: bool, **flags: Any
) -> None:
    """Evaluate trials of a study until it has ended.

    The study was begun by `mpsearch study --storage URL`. A worker may join, leave or die at any time; what it has not finished is taken
    over by others.
    """
    if storage is None:
        raise ConfigError(f"--storage URL is needed, that of `mpsearch study --storage URL`, or the variable {_VARIABLE}")

    from mpsearch.report.progress import RichProgress
    from mpsearch.run import join

    def read(text: str) -> StudyConfig:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "study.yaml")
            file.write_text(text, encoding="utf-8")
            return read_config(flags, file, trusted=lambda code: _trusted(code, trust))

    def directory(study: str) -> Path:
        return run_dir or Path("runs") / f"worker-{study}"

    results, progress = consoles(quiet=quiet)
    trials = join(storage, name, read, directory, command_line(), RichProgress(progress), artifacts=artifacts)
    results.print(f"the study has ended with {trials} trials")


def _trusted(code: str, trust: bool) -> bool:
    if not trust:
        raise ConfigError(f"the study names the code '{code}'; if you trust those who began it, add --model {code} or --trust")
    return True
