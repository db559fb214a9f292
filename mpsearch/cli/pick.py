"""`mpsearch pick`: a point of a finished run, without new trials."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpsearch.cli.options import consoles
from mpsearch.core.errors import ConfigError, UsageError
from mpsearch.core.printable import printable

if TYPE_CHECKING:
    from mpsearch.run.finished_run import Finished, Point

__all__ = ["pick"]

_SHARE = re.compile(r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)\s*")


@click.command(short_help="A point of a finished run, without new trials.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--budget", "budgets", multiple=True, metavar="AMOUNT", help="The best within 1.4MB, 3.2bit, …; give several and all hold.")
@click.option("--keep", metavar="SHARE", help="The smallest that keeps this share of the float metric: 99%.")
@click.option(
    "--max-drop", type=float, metavar="X", help="The smallest that loses no more: points of an accuracy, else units of the metric."
)
@click.option("--knee", is_flag=True, help="Where the front bends.")
@click.option("--trial", type=int, metavar="N", help="The bits of one trial.")
@click.option("--cost", default="size", show_default=True, metavar="COST", help="What is to be small, for --keep, --max-drop and --knee.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write the bits, for `mpsearch retrain --bits`."
)
def pick(
    run: Path,
    budgets: tuple[str, ...],
    keep: str | None,
    max_drop: float | None,
    knee: bool,
    trial: int | None,
    cost: str,
    out: Path | None,
) -> None:
    """Show a point of the finished run RUN: its bits, its size, its metric and what that rests on, and the command that exports it.

    A point is a network that the run has scored or, where none is as good, bits that are solved under what the run has learned.
    """
    asked = {
        "--budget": bool(budgets),
        "--keep": keep is not None,
        "--max-drop": max_drop is not None,
        "--knee": knee,
        "--trial": trial is not None,
    }
    given = [name for name, there in asked.items() if there]
    if len(given) != 1:
        raise UsageError(f"{' and '.join(given) or 'nothing'} was asked for; give one of {', '.join(asked)}")
    share = None if keep is None else _share(keep)
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise ConfigError(f"--max-drop {max_drop:g}: give a number of at least 0, such as 0.5")

    from mpsearch.config import dump_bits
    from mpsearch.core.files import write_text
    from mpsearch.costs.budgets import parse_budgets
    from mpsearch.report.terminal import allocation_table
    from mpsearch.report.wording import is_fraction
    from mpsearch.run.finished_run import open_finished
    from mpsearch.run.next_steps import NextSteps
    from mpsearch.run.pick import Picker

    finished = open_finished(run)
    picker = Picker(finished)
    limits = finished.with_others(parse_budgets(budgets)) if budgets else ()
    if limits:
        point = picker.within(limits)
    elif trial is not None:
        point = picker.trial(trial)
    elif knee:
        point = picker.knee(cost)
    else:
        points = 100 if is_fraction(finished.summary.metric) else 1
        drop = None if max_drop is None else max_drop / points
        point = picker.keeping(picker.error_within(keep=share, drop=drop), cost)

    results, _ = consoles()
    results.print(allocation_table(point.allocation, finished.kept.space.layers, finished.exact, limits))
    results.print()
    for line in _told(finished, point):
        results.print(printable(line), markup=False, highlight=False)
    if out is not None:
        mean = point.allocation.mean_weight_bits(finished.kept.space.layers)
        head = f"# {point.name} of {run.resolve().name}: {point.costs['size']:.0f} bytes, {mean:.3f} mean weight bits\n"
        write_text(out, printable(head.rstrip()) + "\n" + dump_bits(point.allocation))
        results.print(f"bits: {printable(str(out))}", markup=False, highlight=False)
    results.print("Next:")
    for command in NextSteps(finished).of(point, budgets=[budget.text for budget in limits], out=out):
        results.print(f"  {printable(command.text)}   {command.purpose}", markup=False, highlight=False, soft_wrap=True)


def _share(text: str) -> float:
    match = _SHARE.fullmatch(text)
    share = float(match["number"]) / (100 if match["percent"] else 1) if match else math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"--keep '{text}': give a share of the float metric, such as 99% or 0.99")
    return share


def _told(finished: Finished, point: Point) -> Iterator[str]:
    """The point in words: what it is, its metric, what that rests on, what is to be known."""
    from mpsearch.costs.budgets import format_amount
    from mpsearch.report.palette import rung_title
    from mpsearch.report.wording import gain_text, metric_text

    name = finished.summary.metric
    lost = gain_text(name, point.metric - finished.summary.reference.scores["validation"].metric)
    value = f"{metric_text(name, point.metric)} ({lost} against float)"
    size = format_amount("size", point.costs["size"])
    if point.interval is not None:
        low, high = (metric_text(name, bound) for bound in point.interval)
        yield f"{point.name}: validation {name} {value} expected, {low} to {high} with 90 %, in {size}"
        yield f"That is the belief of the run's surrogate, for a trial with {rung_title(point.rung)}; nothing was trained at these bits."
    else:
        rests = {"retrained": "the run has retrained it in full", "trained": f"a trial trained it: {rung_title(point.rung)}"}
        basis = rests.get(point.basis, "calibrated only, nothing was trained")
        yield f"{point.name}: validation {name} {value} measured, in {size}; {basis}"
    yield from point.notes
    exact = finished.exact["size"].total(point.allocation)
    if exact != point.costs["size"]:
        yield f"The bytes of the table are those of the run's own method; with {point.params.get('method', 'its method')} it has {size}."
