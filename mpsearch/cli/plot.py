"""`mpsearch plot`: draw the report of a run again."""

from __future__ import annotations

from pathlib import Path

import click

from mpsearch.core.errors import RunDirectoryError, UsageError
from mpsearch.core.files import is_file

__all__ = ["plot"]

SUMMARY = "summary.json"


@click.command(short_help="Draw the report page of a run again.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: front.html in RUN.")
def plot(run: Path, out: Path | None) -> None:
    """Draw the report page of the run directory RUN."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"--out '{out}': the report is one HTML page; give a name that ends in .html (its camera button saves a figure as SVG)"
        )
    file = run / SUMMARY
    if not is_file(file):
        raise RunDirectoryError(f"'{run}' holds no {SUMMARY}; give the directory of a run that has ended, such as one in runs/")

    import json

    from mpsearch.core.summary import Summary

    try:
        summary = Summary.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{file} is damaged ({type(error).__name__}: {error}); run the study again, it continues where it stopped"
        ) from error

    from mpsearch.report.page import write_page

    click.echo(str(write_page(summary, out or run / "front.html")))
