"""Plotly figures drawn from the numbers in `info`; the only file that imports plotly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.report import palette
from mpsearch.report.figure_style import Figure, log_axis, metric_axis, note, style
from mpsearch.report.hover import escaped, layer_hover, pair_hover, point_hover, short_name
from mpsearch.report.info import BitsInfo, CurvesInfo, FrontInfo, HistoryInfo, Point, SignalInfo
from mpsearch.report.wording import cost_title, format_text, is_fraction, metric_text

__all__ = ["Figure", "bits_figure", "curves_figure", "front_figure", "history_figure", "signals_figure"]

_UNITS = {"size": "B", "latency": "s", "bops": "BOPs", "bits": ""}
_FLOAT_HEIGHT = 10
_FLOAT_LINE = {"color": palette.FLOAT, "width": 1.4, "dash": "dash"}
_NOWHERE: list[Any] = [None]


def front_figure(info: FrontInfo) -> Figure:
    """Metric against cost: every trial by rung, the front as a step line, float, uniform, winner and budget."""
    figure = go.Figure()
    style(figure, info.finding, 580)
    left, right = info.span
    if info.front:
        steps = [(p.amount, p.metric) for p in info.front]
        _add_steps(figure, "front of the trials", steps, right, palette.INK, 1.6, opacity=0.55)
    _add_rungs(figure, info)
    figure.add_hline(y=info.float_metric, line=_FLOAT_LINE)
    label = f"float {metric_text(info.metric, info.float_metric)}"
    note(figure, label, palette.FLOAT, x=0.004, xref="paper", xanchor="left", y=info.float_metric, yanchor="bottom")
    if info.budget is not None:
        limit = info.budget.limit
        figure.add_vline(x=limit, line={"color": palette.BUDGET, "width": 1.4, "dash": "dot"})
        note(
            figure,
            f"budget {info.budget}",
            palette.BUDGET,
            x=math.log10(limit) if info.log_axis else limit,
            xanchor="right",
            y=0.01,
            yref="paper",
            yanchor="bottom",
        )
    if info.uniform is not None:
        _add_reference(figure, info, info.uniform, "best uniform", _marker("diamond", 13, palette.UNIFORM, 1.5))
    if info.points_of_front:
        points = [p for _, p in info.points_of_front]
        hover = [point_hover(p, escaped(f"front/{name}"), info.cost, info.metric) for name, p in info.points_of_front]
        figure.add_scatter(
            x=[p.amount for p in points],
            y=[p.metric for p in points],
            mode="markers",
            name="points of the front, retrained",
            marker=_marker("star", 14, palette.ACCENT, 1.2),
            hovertemplate=hover,
        )
    _add_reference(figure, info, info.winner, "winner", _marker("star", 20, palette.ACCENT, 1.5))
    figure.update_xaxes(title_text=cost_title(info.cost), tickformat="~s" if info.cost in ("size", "latency", "bops") else None)
    figure.update_xaxes(ticksuffix=_UNITS.get(info.cost, ""), type="log" if info.log_axis else "linear")
    if info.log_axis:
        figure.update_xaxes(dtick="D2", range=[math.log10(left) - 0.05, math.log10(right) + 0.05])
    metric_axis(figure, info)
    return figure


def bits_figure(info: BitsInfo) -> Figure:
    """Weight bits of the winner's layers as bars, activation bits as markers, the uniform allocation as a line."""
    figure = go.Figure()
    names = [short_name(row.layer.name) for row in info.layers]
    weights = [row.choice.weight for row in info.layers]
    activations = [] if info.mean_act_bits is None else [row.choice.activation for row in info.layers]
    places = list(range(len(names)))
    hover = [layer_hover(row) for row in info.layers]
    marker = {"color": [_bar_colour(format) for format in weights], "line": {"width": 0}}
    figure.add_bar(
        x=places,
        y=[_height(format) for format in weights],
        name="weights",
        marker=marker,
        hovertemplate=hover,
        text=[format_text(format) for format in weights],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 12, "color": palette.INK},
    )
    uniform = [row.uniform_weight for row in info.layers if row.uniform_weight is not None]
    if uniform:
        heights = [_height(format) for format in uniform]
        line = {"shape": "hvh", "color": palette.UNIFORM, "width": 1.6, "dash": "dash"}
        figure.add_scatter(x=places, y=heights, mode="lines", name="best uniform", line=line, hoverinfo="skip")
    if activations:
        symbol = _marker("diamond", 9, palette.ACCENT, 1.2)
        heights = [_height(format) for format in activations]
        figure.add_scatter(x=places, y=heights, mode="markers", name="activations", marker=symbol, hovertemplate=hover)
    style(figure, info.finding, 460)
    tallest = max(map(_height, [*weights, *activations, *uniform]))
    ticks = [*range(1, min(math.ceil(tallest), 8) + 1), *([_FLOAT_HEIGHT] if tallest > 8 else [])]
    figure.update_yaxes(
        title_text="bits",
        tickvals=ticks,
        ticktext=[format_text(FLOAT) if tick > 8 else str(tick) for tick in ticks],
        range=[0, tallest * 1.1],
    )
    every = max(1, -(-len(names) // 48))
    figure.update_xaxes(
        tickvals=places[::every],
        ticktext=names[::every],
        tickangle=-50,
        showgrid=False,
        tickfont={"size": 12},
        range=[-0.7, len(names) - 0.3],
    )
    figure.update_layout(bargap=0.25, legend={"y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"}, showlegend=True)
    return figure


def signals_figure(infos: Sequence[SignalInfo]) -> Figure:
    """One panel per signal: what it predicts for the bits of a trial against their loss before training."""
    titles = [escaped(info.finding.rstrip(".")) for info in infos]
    figure = make_subplots(
        rows=1, cols=len(infos), shared_yaxes=True, horizontal_spacing=min(0.05, 0.5 / len(infos)), subplot_titles=titles
    )
    for column, info in enumerate(infos, start=1):
        hover = [pair_hover(pair) for pair in info.pairs]
        marker = {**_marker("circle", 10, palette.RUNGS["long"][0], 1), "opacity": 0.75}
        xs, ys = [pair.predicted for pair in info.pairs], [pair.measured for pair in info.pairs]
        figure.add_scatter(x=xs, y=ys, mode="markers", marker=marker, hovertemplate=hover, showlegend=False, row=1, col=column)
        unit = f", {escaped(info.unit)}" if info.unit else ""
        figure.update_xaxes(title_text=f"{escaped(info.name)}: predicted for the bits{unit}", row=1, col=column)
        log_axis(figure.update_xaxes, info.log_predicted, row=1, col=column)
        log_axis(figure.update_yaxes, info.log_measured, row=1, col=column)
        figure.add_hline(y=info.float_loss, line=_FLOAT_LINE, row=1, col=column)
    style(figure, " ".join(info.finding for info in infos), 440)
    figure.update_yaxes(title_text="validation loss without training", row=1, col=1)
    first = infos[0]
    y = math.log10(first.float_loss) if first.log_measured and first.float_loss > 0 else first.float_loss
    # On the right, where a rising cloud of marks leaves room beside the line.
    note(figure, "float", palette.FLOAT, x=0.996, xref="x domain", xanchor="right", y=y, yanchor="bottom")
    return figure


def history_figure(info: HistoryInfo) -> Figure:
    """Every trial in order, and the best feasible one so far as a step line."""
    figure = go.Figure()
    last = max(p.number for p in info.points)
    if info.best:
        steps = [(p.number, p.metric) for p in info.best]
        _add_steps(figure, "best within the budget so far", steps, last, palette.ACCENT, 2.2)
    _add_rungs(figure, info)
    if info.failed:
        notes = [f"<b>trial {number} failed</b><br>{escaped(note)}<extra></extra>" for number, note in info.failed]
        marker = {"symbol": "x", "size": 10, "color": palette.BUDGET}
        xs = [number for number, _ in info.failed]
        figure.add_scatter(
            x=xs, y=[info.view[0]] * len(xs), cliponaxis=False, mode="markers", name="failed", marker=marker, hovertemplate=notes
        )
    style(figure, info.finding, 440)
    figure.update_xaxes(title_text="trial", showgrid=False, tickformat="d", dtick=1 if len(info.points) <= 30 else None)
    figure.update_xaxes(range=[-0.6, last + 0.6])
    metric_axis(figure, info)
    return figure


def curves_figure(info: CurvesInfo) -> Figure:
    """Validation metric and training loss per epoch of all that was retrained."""
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=[f"validation {escaped(info.metric)}", "training loss"])
    for curve in info.curves:
        colour, dash, title = palette.SERIES[curve.name]
        shared = {
            "mode": "lines+markers",
            "name": title,
            "legendgroup": curve.name,
            "line": {"color": colour, "width": 2.4, "dash": dash},
            "marker": {"size": 6},
        }
        heads = [f"<b>{title}</b>, epoch {epoch:g}<br>" for epoch in curve.epochs]
        metrics = [f"{head}{metric_text(info.metric, value)}<extra></extra>" for head, value in zip(heads, curve.metric, strict=True)]
        losses = [f"{head}loss {value:.4g}<extra></extra>" for head, value in zip(heads, curve.loss, strict=True)]
        figure.add_scatter(x=curve.epochs, y=curve.metric, hovertemplate=metrics, row=1, col=1, **shared)
        figure.add_scatter(x=curve.epochs, y=curve.loss, hovertemplate=losses, row=1, col=2, showlegend=False, **shared)
    epochs = max(len(curve.epochs) for curve in info.curves)
    ends = [min(curve.epochs[0] for curve in info.curves), max(curve.epochs[-1] for curve in info.curves)]
    label = f"float {metric_text(info.metric, info.float_metric)}"
    figure.add_scatter(x=ends, y=[info.float_metric] * 2, mode="lines", name=label, line=_FLOAT_LINE, hoverinfo="skip", row=1, col=1)
    style(figure, info.finding, 430)
    figure.update_xaxes(title_text="epoch", showgrid=False, tickformat="d", dtick=1 if epochs <= 15 else None)
    if is_fraction(info.metric):
        figure.update_yaxes(tickformat=".1%", row=1, col=1)
    return figure


def _add_rungs(figure: Figure, info: FrontInfo | HistoryInfo) -> None:
    cost = info.cost if isinstance(info, FrontInfo) else None
    for rung in info.rungs:
        mark = palette.rung_mark(rung)
        for fits in (True, False):
            points = [p for p in info.points if p.rung == rung and p.feasible is fits]
            # A rung without any trial inside the budget still needs an entry in the legend: one point without a place.
            figure.add_scatter(
                x=[p.number if cost is None else p.amount for p in points] or _NOWHERE,
                y=[p.metric for p in points] or _NOWHERE,
                mode="markers",
                name=palette.rung_title(rung),
                legendgroup=rung,
                showlegend=fits,
                hovertemplate=[point_hover(p, f"trial {p.number}", cost, info.metric) for p in points],
                opacity=1.0 if fits else 0.4,
                marker=_marker(mark, 13 if mark.startswith("triangle") else 11, palette.rung_colour(rung), 1),
            )


def _add_reference(figure: Figure, info: FrontInfo, p: Point, title: str, marker: Mapping[str, Any]) -> None:
    name = f"{title}, {'retrained' if p.rung == 'full' else 'calibrated only'}"
    hover = [point_hover(p, name, info.cost, info.metric)]
    figure.add_scatter(x=[p.amount], y=[p.metric], mode="markers", name=name, marker=marker, hovertemplate=hover)


def _add_steps(figure: Figure, name: str, steps: Sequence[tuple[float, float]], end: float, colour: str, width: float, **more: Any) -> None:
    """A line of steps (x, y) that goes on to `end`."""
    xs, ys = zip(*steps, (end, steps[-1][1]), strict=True)
    line = {"shape": "hv", "color": colour, "width": width}
    figure.add_scatter(x=xs, y=ys, mode="lines", name=name, line=line, hoverinfo="skip", **more)


def _marker(symbol: str, size: float, colour: str, edge: float) -> dict[str, Any]:
    """A mark with a white edge."""
    return {"symbol": symbol, "size": size, "color": colour, "line": {"color": "white", "width": edge}}


def _height(format: NumberFormat) -> float:
    return _FLOAT_HEIGHT if format.is_float else format.bits_per_value


def _bar_colour(format: NumberFormat) -> str:
    shades = ("#c9d8ea", "#a8c2de", "#86abd2", "#6594c5", "#477db4", "#3068a1", "#20568f", "#15457a")
    return "#0d2f57" if format.is_float else shades[format.bits - 1]
