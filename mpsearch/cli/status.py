"""`mpsearch status`: what the workers of a study are at."""

from __future__ import annotations

import click

from mpsearch.cli.options import consoles
from mpsearch.cli.shared_study import shared_study

__all__ = ["status"]


@click.command(short_help="Workers, trials, the best and the expected end of a study.")
@shared_study
def status(storage: str, name: str | None) -> None:
    """Show what the workers of a study are at: of the run directory RUN, or of a storage."""
    from mpsearch.report.terminal import status_table
    from mpsearch.study.status import status_of

    results, _ = consoles()
    results.print(status_table(status_of(storage, name)))
