"""`mpsearch plot`: draw the report of a run again."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import click

from mpsearch.core.errors import RunDirectoryError, UsageError
from mpsearch.core.files import is_file
from mpsearch.core.printable import printable

__all__ = ["plot"]

SUMMARY = "summary.json"
_PAGES = (".html", ".htm")
_SUFFIXES = (*_PAGES, ".svg", ".png", ".pdf")


@click.command(short_help="Draw the report page of a run again.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: front.html in RUN; a name that ends in .svg, .png or .pdf gets the picture of the front alone.",
)
def plot(run: Path, out: Path | None) -> None:
    """Draw the report page of the run directory RUN, or the picture of its front."""
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--out '{out}': give a name that ends in {', '.join(_SUFFIXES)}")
    file = run / SUMMARY
    if not is_file(file):
        raise RunDirectoryError(f"'{run}' holds no {SUMMARY}; give the directory of a run that has ended, such as one in runs/")

    from mpsearch.core.summary import Summary
    from mpsearch.run.read_back import read_json

    summary = read_json(file, Summary.from_dict)
    target = out or run / "front.html"
    if target.suffix.lower() in _PAGES:
        from mpsearch.report.page import write_page

        write_page(summary, target)
    else:
        with chdir(Path(__file__).parent):  # as it is imported, Matplotlib reads a `matplotlibrc` where it is, which may be a stranger's
            from mpsearch.report.picture import write_picture

        write_picture(summary, target)
    click.echo(printable(str(target)))
