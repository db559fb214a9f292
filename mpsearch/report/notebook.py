"""A run in a notebook: a small picture of its front and its figures as HTML, and each figure of the report for itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from pathlib import Path

from mpsearch.core.errors import ConfigError
from mpsearch.core.printable import printable
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.report.figure_style import Figure
from mpsearch.report.info import bits_info, facts
from mpsearch.report.wording import TIMES, format_text, gain_text, metric_text

__all__ = ["FIGURES", "summary_figure", "summary_html"]

_LONG = 24
"""Layers of a table that is folded away."""
_CELL = "text-align:left;padding:2px 12px 2px 0"
_NUMBER = "text-align:right;padding:2px 0 2px 12px;font-variant-numeric:tabular-nums"


def summary_html(summary: Summary, run: Path | None = None) -> str:
    """The run as a piece of HTML without scripts, in the colours of the page around it.

    Args:
        summary: its results.
        run: its directory, to name the files.
    """
    picture = base64.b64encode(_picture(summary)).decode()
    title = f"<strong>{_text(summary.name)}</strong> · {_text(summary.model)} · {_text(summary.data)}"
    image = f'<img src="data:image/svg+xml;base64,{picture}" alt="{_text(_description(summary))}" style="width:460px;max-width:100%">'
    side = f'<div style="min-width:260px">{_figures(summary, run)}</div>'
    return (
        f'<div class="mpsearch"><p style="margin:0 0 6px">{title}</p>'
        f'<div style="display:flex;flex-wrap:wrap;gap:12px 28px;align-items:flex-start">{image}{side}</div>{_bits(summary)}</div>'
    )


def summary_figure(summary: Summary, kind: str = "front", *, cost: str = "size") -> Figure:
    """One figure of the report.

    Args:
        summary: results of the run.
        kind: a name in `FIGURES`.
        cost: horizontal axis of the front.

    Raises:
        ConfigError: no such figure or cost, or there is nothing to draw.
    """
    if kind not in FIGURES:
        raise ConfigError(f"plot: there is no figure '{kind}'; give one of {', '.join(FIGURES)}", path="kind")
    return FIGURES[kind](summary, cost)


def _front(summary: Summary, cost: str) -> Figure:
    from mpsearch.report.figures import front_figure
    from mpsearch.report.info import front_info

    known = [name for name in summary.winner.costs if all(name in record.costs for record in summary.trials)]
    if cost not in known:
        raise ConfigError(f"plot: this run has no cost '{cost}'; give one of {', '.join(known)}", path="cost")
    return front_figure(front_info(summary, cost=cost))


def _winner(summary: Summary, cost: str) -> Figure:
    from mpsearch.report.figures import bits_figure

    return bits_figure(bits_info(summary))


def _history(summary: Summary, cost: str) -> Figure:
    from mpsearch.report.figures import history_figure
    from mpsearch.report.info import history_info

    info = history_info(summary)
    if info.empty:
        raise ConfigError(f"plot: {info.empty}", path="kind")
    return history_figure(info)


def _signals(summary: Summary, cost: str) -> Figure:
    from mpsearch.report.figures import signals_figure
    from mpsearch.report.info import signal_infos

    infos = signal_infos(summary)
    empty = " ".join(info.empty for info in infos if info.empty) if infos else "No signal was measured in this run."
    if empty:
        raise ConfigError(f"plot: {empty}", path="kind")
    return signals_figure(infos)


def _curves(summary: Summary, cost: str) -> Figure:
    from mpsearch.report.figures import curves_figure
    from mpsearch.report.info import curves_info

    info = curves_info(summary)
    if info.empty:
        raise ConfigError(f"plot: {info.empty}", path="kind")
    return curves_figure(info)


FIGURES: Mapping[str, Callable[[Summary, str], Figure]] = {
    "front": _front,
    "bits": _winner,
    "history": _history,
    "signals": _signals,
    "curves": _curves,
}
"""Name → function of a summary and the cost of a horizontal axis that returns the figure."""


def _picture(summary: Summary) -> bytes:
    from mpsearch.report.picture import picture_data

    return picture_data(summary, "svg")


def _description(summary: Summary) -> str:
    return f"Validation {summary.metric} against size for every trial"


def _figures(summary: Summary, run: Path | None) -> str:
    known = facts(summary)
    scores = {name: metric_text(summary.metric, score.metric) for name, score in known.scores.items()}
    rows = [
        (
            _text(f"{summary.metric}, {known.split}"),
            f"<strong>{scores['winner']}</strong> ({gain_text(summary.metric, known.drop)} against float)",
        ),
        ("float", scores["float"]),
        *([("best uniform", scores["uniform"])] if "uniform" in scores else []),
        (
            "file",
            f"<strong>{_text(format_amount('size', summary.artifact_bytes))}</strong>, "
            f"{known.compression:.1f}{TIMES} smaller than {_text(short_amount('size', known.float_bytes))}",
        ),
        *(
            (
                f"budget {_text(check.budget.text)}",
                f"{_text(format_amount(check.budget.cost, check.amount))}, {'met' if check.ok else 'exceeded'}",
            )
            for check in known.budgets
        ),
        ("mean bits", f"weights {known.bits.mean_weight_bits:.2f}, activations {_mean(known.bits.mean_act_bits)}"),
        *([("report", f"<code>{_text(str(run / 'front.html'))}</code>")] if run is not None else []),
    ]
    body = "".join(f'<tr><th style="{_CELL};font-weight:normal">{name}</th><td style="{_CELL}">{value}</td></tr>' for name, value in rows)
    return f"<table>{body}</table>"


def _bits(summary: Summary) -> str:
    """A table of the layers, folded away if it is long."""
    info = bits_info(summary)
    cells = ((row, (format_text(row.choice.weight), format_text(row.choice.activation), f"{row.bytes:,}")) for row in info.layers)
    rows = "".join(
        f'<tr><th style="{_CELL};font-weight:normal">{_text(row.layer.name)}</th>'
        + "".join(f'<td style="{_NUMBER}">{value}</td>' for value in values)
        + "</tr>"
        for row, values in cells
    )
    names = "".join(f'<th style="{_NUMBER}">{name}</th>' for name in ("weight bits", "input bits", "bytes"))
    table = f'<table><thead><tr><th style="{_CELL}">layer</th>{names}</tr></thead><tbody>{rows}</tbody></table>'
    opened = " open" if len(info.layers) <= _LONG else ""
    return f"<details{opened}><summary>Bits of {len(info.layers)} layers</summary>{table}</details>"


def _mean(bits: float | None) -> str:
    return "float" if bits is None else f"{bits:.2f}"


def _text(text: str) -> str:
    return html.escape(printable(text))
