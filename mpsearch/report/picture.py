"""The front as a picture for documents: SVG, PNG or PDF, from the same numbers as the figure on the report page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from mpsearch.core.errors import UsageError
from mpsearch.core.files import write_bytes
from mpsearch.core.printable import printable
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import short_amount
from mpsearch.report import palette
from mpsearch.report.info import FrontInfo, Point, front_info
from mpsearch.report.picture_style import MARKERS, axes_of, encoded, percent_axis, styled, titled
from mpsearch.report.wording import is_fraction, metric_text

__all__ = ["PICTURE_SUFFIXES", "front_picture", "picture_data", "write_picture"]

PICTURE_SUFFIXES = (".svg", ".png", ".pdf")
_LEFT = 84


def write_picture(summary: Summary, file: Path) -> Path:
    """Draw the front of a run against its first budget, or size.

    Args:
        summary: of a finished run.
        file: one of `PICTURE_SUFFIXES`.

    Raises:
        UsageError: another suffix.
    """
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"'{file}': give a name that ends in {', '.join(PICTURE_SUFFIXES)}")
    write_bytes(file, picture_data(summary, file.suffix.lower().removeprefix(".")))
    return file


def picture_data(summary: Summary, form: str) -> bytes:
    """The content of such a file.

    Args:
        summary: of a finished run.
        form: `svg`, `png` or `pdf`.
    """
    info = front_info(summary)
    with styled():
        figure = front_picture(info, f"{summary.model}: validation {summary.metric} against {info.cost}")
        return encoded(figure, form, f"Validation {summary.metric} against {info.cost} for every trial of one run")


def front_picture(info: FrontInfo, title: str) -> Figure:
    """Metric against cost: every trial by rung, the front as a step line, float, uniform, winner and budget."""
    figure, axes = axes_of(860, 500, left=_LEFT, right=24, top=76, bottom=104)
    titled(figure, title, info.finding, left=_LEFT)
    _limits(axes, info)
    axes.axhline(info.float_metric, color=palette.FLOAT, linewidth=1, linestyle=(0, (5, 3.5)))
    axes.annotate(
        f"float {metric_text(info.metric, info.float_metric)}", (0.008, info.float_metric), xycoords=("axes fraction", "data"),
        xytext=(0, 4), textcoords="offset points", color=palette.FLOAT,
    )  # fmt: skip
    if info.budget is not None:
        axes.axvline(info.budget.limit, color=palette.BUDGET, linewidth=1, linestyle=(0, (1.5, 3)))
        axes.annotate(
            printable(f"budget {info.budget}"), (info.budget.limit, 0.02), xycoords=("data", "axes fraction"),
            xytext=(-6, 0), textcoords="offset points", color=palette.BUDGET, horizontalalignment="right", parse_math=False,
        )  # fmt: skip
    if info.front:
        xs, ys = [point.amount for point in info.front], [point.metric for point in info.front]
        axes.step([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], where="post", color=palette.INK, alpha=0.55, linewidth=1.2)
    for rung in info.rungs:
        for feasible in (True, False):
            members = [point for point in info.points if point.rung == rung and point.feasible is feasible]
            area = 62 if palette.rung_mark(rung) == "triangle-up" else 48
            label = printable(palette.rung_title(rung)) if feasible else None
            _scatter(axes, members, palette.rung_mark(rung), palette.rung_colour(rung), area, label, 3, alpha=1.0 if feasible else 0.4)
    trained = "retrained" if info.winner.rung == "full" else "calibrated"
    if info.uniform is not None:
        _scatter(axes, [info.uniform], "diamond", palette.UNIFORM, 50, f"best uniform, {trained}", 4)
    if info.points_of_front:
        _scatter(axes, [p for _, p in info.points_of_front], "star", palette.ACCENT, 110, "points of the front", 4)
    _scatter(axes, [info.winner], "star", palette.ACCENT, 220, f"winner, {trained}", 4)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(-0.015, -0.1), ncols=5, borderaxespad=0, handletextpad=0.2, columnspacing=1.2)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a rung may be named by a stranger
    return figure


def _limits(axes: Axes, info: FrontInfo) -> None:
    low, high = info.span
    if info.log_axis:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.set_xlim(low / 1.1, high * 1.1)
    else:
        margin = 0.05 * (high - low) or 0.05 * high
        axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: short_amount(info.cost, amount)))
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_ylim(*info.view)
    if is_fraction(info.metric):
        percent_axis(axes, None)


def _scatter(
    axes: Axes, points: Sequence[Point], symbol: str, colour: str, area: int, label: str | None, order: int, *, alpha: float = 1.0
) -> None:
    axes.scatter(
        [point.amount for point in points],
        [point.metric for point in points],
        s=area,
        alpha=alpha,
        color=colour,
        marker=MARKERS[symbol],
        edgecolor=palette.PAPER,
        linewidth=0.7,
        label=label,
        zorder=order,
    )
