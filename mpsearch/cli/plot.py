"""`mpsearch plot`: draw the report of a run again, or several runs in one page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpsearch.core.errors import RunDirectoryError, UsageError
from mpsearch.core.files import is_file
from mpsearch.core.printable import printable

if TYPE_CHECKING:
    from mpsearch.core.summary import Summary

__all__ = ["plot"]

SUMMARY = "summary.json"
_PAGES = (".html", ".htm")
_SUFFIXES = (*_PAGES, ".svg", ".png", ".pdf")
_TOGETHER = Path("fronts.html")
_MOST_RUNS = 50


@click.command(short_help="Draw the report page of a run again, or several runs in one page.")
@click.argument("runs", type=click.Path(path_type=Path), metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: front.html in RUN, fronts.html here for several; .svg, .png or .pdf gets the picture of one front alone.",
)
def plot(runs: tuple[Path, ...], out: Path | None) -> None:
    """Draw the report page of the run directory RUN, or the picture of its front; of several runs, their fronts in one page."""
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--out '{out}': give a name that ends in {', '.join(_SUFFIXES)}")
    target = _together(runs, out or _TOGETHER) if len(runs) > 1 else _alone(runs[0], out or runs[0] / "front.html")
    click.echo(printable(str(target)))


def _alone(run: Path, target: Path) -> Path:
    summary = _read(run)
    if target.suffix.lower() in _PAGES:
        from mpsearch.report.page import write_page
        from mpsearch.run.details import run_details

        return write_page(summary, target, run_details(run, summary))
    with chdir(Path(__file__).parent):  # as it is imported, Matplotlib reads a `matplotlibrc` where it is, which may be a stranger's
        from mpsearch.report.picture import write_picture

    write_picture(summary, target)
    return target


def _together(runs: Sequence[Path], target: Path) -> Path:
    if target.suffix.lower() not in _PAGES:
        raise UsageError(f"--out '{target}': several runs share a page, not a picture; give a name that ends in {' or '.join(_PAGES)}")
    if len(runs) > _MOST_RUNS:
        raise UsageError(f"{len(runs)} runs were given; a page holds at most {_MOST_RUNS}")
    places = [run.resolve() for run in runs]
    twice = next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"the run '{twice}' was given twice; give each once")
    summaries = [_read(run) for run in runs]

    from mpsearch.report.info.explorer import ShownRun, check_metrics
    from mpsearch.report.runs_page import run_names, write_runs_page
    from mpsearch.run.details import run_details

    names = run_names(runs)
    check_metrics(names, [summary.metric for summary in summaries])
    shown = [
        ShownRun(name=name, summary=summary, details=run_details(run, summary))
        for name, run, summary in zip(names, runs, summaries, strict=True)
    ]
    return write_runs_page(shown, target)


def _read(run: Path) -> Summary:
    file = run / SUMMARY
    if not is_file(file):
        raise RunDirectoryError(f"'{run}' holds no {SUMMARY}; give the directory of a run that has ended, such as one in runs/")

    from mpsearch.core.summary import Summary
    from mpsearch.run.read_back import read_json

    return read_json(file, Summary.from_dict)
