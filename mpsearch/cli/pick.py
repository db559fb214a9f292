"""`mpsearch pick`: a point of a finished run, without new trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpsearch.cli.options import consoles, keep_options, kept
from mpsearch.core.errors import UsageError
from mpsearch.core.printable import printable

if TYPE_CHECKING:
    from mpsearch.run.finished_run import Finished, Point

__all__ = ["pick"]


@click.command(short_help="A point of a finished run, without new trials.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--budget", "budgets", multiple=True, metavar="AMOUNT", help="The best within 1.4MB, 3.2bit, …; give several and all hold.")
@keep_options
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
    wanted = kept(keep, max_drop)

    from mpsearch.config import dump_bits
    from mpsearch.core.files import write_text
    from mpsearch.costs.budgets import parse_budgets
    from mpsearch.report.terminal import allocation_table
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
        point = picker.keeping(picker.error_within(**(wanted or {})), cost)

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
        yield f"The run's surrogate predicts that for a trial with {rung_title(point.rung)}; nothing was trained at these bits."
    else:
        rests = {"retrained": "the run has retrained it in full", "trained": f"a trial trained it: {rung_title(point.rung)}"}
        basis = rests.get(point.basis, "calibrated only, nothing was trained")
        yield f"{point.name}: validation {name} {value} measured, in {size}; {basis}"
    yield from point.notes
    exact = finished.exact["size"].total(point.allocation)
    if exact != point.costs["size"]:
        yield f"The bytes of the table are those of the run's own method; with {point.params.get('method', 'its method')} it has {size}."
