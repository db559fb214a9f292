"""`mpsearch export`: a copy of the artifact of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from mpsearch.core.printable import printable

__all__ = ["export"]


@click.command(short_help="Copy the artifact of a run.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER", help="Where the artifact goes.")
def export(run: Path, out: Path) -> None:
    """Copy the artifact of the run directory RUN, after a check, with its quantization card beside it.

    The target c writes a folder: model.c and model.h, an example program, a test vector and a Makefile.
    """
    from mpsearch.run import export_run

    for file in export_run(run, out):
        click.echo(printable(f"{file}: {file.stat().st_size:,} B"))
