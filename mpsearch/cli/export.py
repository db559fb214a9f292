"""`mpsearch export`: the artifact of a finished run, once more and elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["export"]


@click.command(short_help="Write the artifact of a run again.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where the artifact goes.")
def export(run: Path, out: Path) -> None:
    """Write the retrained network of the run directory RUN as one packed file, and verify it; its quantization card goes beside it."""
    from mpsearch.run import export_run

    for file in export_run(run, out):
        click.echo(f"{file}: {file.stat().st_size:,} B")
