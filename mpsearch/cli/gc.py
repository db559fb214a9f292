"""`mpsearch gc`: room for new checkpoints."""

from __future__ import annotations

import click

from mpsearch.cli.options import consoles
from mpsearch.cli.shared_study import shared_study

__all__ = ["gc"]


@click.command(short_help="Remove checkpoints of trials that have ended.")
@shared_study
@click.option("--artifacts", metavar="DIR", help="What workers share, as seen here: a folder, or s3://BUCKET/PREFIX.")
def gc(storage: str, name: str | None, artifacts: str | None) -> None:
    """Remove what workers have kept of trials that have ended; never what a trial under way or a worker who joins needs."""
    from mpsearch.study.unneeded import remove_unneeded

    results, _ = consoles()
    files, size = remove_unneeded(storage, name, artifacts)
    results.print(f"{files:,} checkpoints removed, {size:,} bytes")
