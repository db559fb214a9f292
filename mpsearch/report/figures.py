"""Plotly figures drawn from the numbers in `info`; the only file that imports plotly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.report import palette
from mpsearch.report.figure_style import Figure, close_up_buttons, log_axis, metric_axis, note, style
from mpsearch.report.hover import layer_hover, pair_hover, plain, point_hover, short_name
from mpsearch.report.info import BitsInfo, CurvesInfo, FrontInfo, HistoryInfo, Point, SignalInfo
from mpsearch.report.wording import format_text, is_fraction, metric_text

__all__ = ["Figure", "bits_figure", "curves_figure", "figure_html", "front_figure", "history_figure", "plotly_script", "signals_figure"]

_UNITS = {"size": "B", "latency": "s", "bops": "BOPs", "bits": ""}
_AXIS_TITLES = {"size": "size of the file", "latency": "latency", "bops": "bit operations", "bits": "mean weight bits"}
_FLOAT_HEIGHT = 10
_FLOAT_LINE = {"color": palette.FLOAT, "width": 1.4, "dash": "dash"}
_NOWHERE: list[Any] = [None]
_UNDER_MODEBAR = 60
_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}


def plotly_script() -> str:
    """The text of plotly.js, to be inlined once in a page."""
    return str(get_plotlyjs())


def figure_html(figure: Figure, div_id: str) -> str:
    """A `<div>` and the script that fills it. The page writes the title; the camera button saves an SVG."""
    figure = go.Figure(figure).update_layout(title=None, margin_t=_UNDER_MODEBAR)
    height = f"{figure.layout.height}px"
    config = {**_CONFIG, "toImageButtonOptions": {"format": "svg", "filename": div_id.removeprefix("plot-")}}
    return str(plotly.io.to_html(figure, config=config, full_html=False, include_plotlyjs=False, div_id=div_id, default_height=height))


def front_figure(info: FrontInfo) -> Figure:
    """Metric against cost: every trial by rung, the front as a step line, float, uniform, winner and budget."""
    figure = go.Figure()
    style(figure, info.finding, 580)
    left, right = info.span
    if info.front:
        steps = [(p.amount, p.metric) for p in info.front] + [(right, info.front[-1].metric)]
        xs, ys = [list(side) for side in zip(*steps, strict=True)]
        line = {"shape": "hv", "color": palette.INK, "width": 1.6}
        figure.add_scatter(x=xs, y=ys, mode="lines", name="front of the trials", line=line, hoverinfo="skip", opacity=0.55)
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
        marker = {"symbol": "diamond", "size": 13, "color": palette.UNIFORM, "line": {"color": "white", "width": 1.5}}
        figure.add_trace(_reference(info.uniform, "best uniform", marker, info))
    marker = {"symbol": "star", "size": 20, "color": palette.ACCENT, "line": {"color": "white", "width": 1.5}}
    figure.add_trace(_reference(info.winner, "winner", marker, info))
    figure.update_xaxes(
        title_text=_AXIS_TITLES.get(info.cost, info.cost), tickformat="~s" if info.cost in ("size", "latency", "bops") else None
    )
    figure.update_xaxes(ticksuffix=_UNITS.get(info.cost, ""), type="log" if info.log_axis else "linear")
    if info.log_axis:
        figure.update_xaxes(dtick="D2", range=[math.log10(left) - 0.05, math.log10(right) + 0.05])
    metric_axis(figure, info.metric)
    figure.update_yaxes(range=list(info.view))
    if info.hidden:
        close_up_buttons(figure, info)
    return figure


def bits_figure(info: BitsInfo) -> Figure:
    """Weight bits of the winner's layers as bars, activation bits as markers, the uniform allocation as a line."""
    figure = go.Figure()
    names = [short_name(layer.name) for layer in info.layers]
    places = list(range(len(names)))
    hover = [layer_hover(layer) for layer in info.layers]
    marker = {"color": [_bar_colour(layer.weight) for layer in info.layers], "line": {"width": 0}}
    figure.add_bar(
        x=places,
        y=[_height(layer.weight) for layer in info.layers],
        name="weights",
        marker=marker,
        hovertemplate=hover,
        text=[format_text(layer.weight) for layer in info.layers],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 12, "color": palette.INK},
    )
    uniform = [layer.uniform_weight for layer in info.layers if layer.uniform_weight is not None]
    if uniform:
        heights = [_height(format) for format in uniform]
        line = {"shape": "hvh", "color": palette.UNIFORM, "width": 1.6, "dash": "dash"}
        figure.add_scatter(x=places, y=heights, mode="lines", name="best uniform", line=line, hoverinfo="skip")
    if info.mean_act_bits is not None:
        symbol = {"symbol": "diamond", "size": 9, "color": palette.ACCENT, "line": {"color": "white", "width": 1.2}}
        heights = [_height(layer.activation) for layer in info.layers]
        figure.add_scatter(x=places, y=heights, mode="markers", name="activations", marker=symbol, hovertemplate=hover)
    style(figure, info.finding, 460)
    acts = [] if info.mean_act_bits is None else [layer.activation for layer in info.layers]
    tallest = max(map(_height, [*(layer.weight for layer in info.layers), *acts, *uniform]))
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
    drawn = [info for info in infos if info.pairs]
    figure = make_subplots(
        rows=1,
        cols=len(drawn),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        subplot_titles=[plain(i.finding.rstrip(".")) for i in drawn],
    )
    for column, info in enumerate(drawn, start=1):
        hover = [pair_hover(pair) for pair in info.pairs]
        marker = {
            "symbol": "circle",
            "size": 10,
            "color": palette.RUNGS["long"][0],
            "opacity": 0.75,
            "line": {"color": "white", "width": 1},
        }
        xs, ys = [pair.predicted for pair in info.pairs], [pair.measured for pair in info.pairs]
        figure.add_scatter(x=xs, y=ys, mode="markers", marker=marker, hovertemplate=hover, showlegend=False, row=1, col=column)
        unit = f", {plain(info.unit)}" if info.unit else ""
        figure.update_xaxes(title_text=f"{plain(info.name)}: predicted for the bits{unit}", row=1, col=column)
        log_axis(figure.update_xaxes, info.log_predicted, row=1, col=column)
        log_axis(figure.update_yaxes, info.log_measured, row=1, col=column)
        figure.add_hline(y=info.float_loss, line=_FLOAT_LINE, row=1, col=column)
    style(figure, " ".join(info.finding for info in drawn), 440)
    figure.update_yaxes(title_text="validation loss without training", row=1, col=1)
    y = math.log10(drawn[0].float_loss) if drawn[0].log_measured and drawn[0].float_loss > 0 else drawn[0].float_loss
    # On the right, where a rising cloud of marks leaves room beside the line.
    note(figure, "float", palette.FLOAT, x=0.996, xref="x domain", xanchor="right", y=y, yanchor="bottom")
    return figure


def history_figure(info: HistoryInfo) -> Figure:
    """Every trial in order, and the best feasible one so far as a step line."""
    figure = go.Figure()
    if info.best:
        last = max(p.number for p in info.points)
        steps = [(p.number, p.metric) for p in info.best] + [(last, info.best[-1].metric)]
        xs, ys = [list(side) for side in zip(*steps, strict=True)]
        line = {"shape": "hv", "color": palette.ACCENT, "width": 2.2}
        figure.add_scatter(x=xs, y=ys, mode="lines", name="best within the budget so far", line=line, hoverinfo="skip")
    _add_rungs(figure, info)
    if info.failed:
        notes = [f"<b>trial {number} failed</b><br>{plain(note)}<extra></extra>" for number, note in info.failed]
        marker = {"symbol": "x", "size": 10, "color": palette.BUDGET}
        xs = [number for number, _ in info.failed]
        figure.add_scatter(
            x=xs, y=[info.view[0]] * len(xs), cliponaxis=False, mode="markers", name="failed", marker=marker, hovertemplate=notes
        )
    style(figure, info.finding, 440)
    figure.update_xaxes(title_text="trial", showgrid=False, tickformat="d", dtick=1 if len(info.points) <= 30 else None)
    figure.update_xaxes(range=[-0.6, max(p.number for p in info.points) + 0.6])
    metric_axis(figure, info.metric)
    figure.update_yaxes(range=list(info.view))
    if info.hidden:
        close_up_buttons(figure, info)
    return figure


def curves_figure(info: CurvesInfo) -> Figure:
    """Validation metric and training loss per epoch of all that was retrained."""
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=[f"validation {plain(info.metric)}", "training loss"])
    for curve in info.curves:
        colour, dash, title = palette.SERIES[curve.name]
        shared = {
            "mode": "lines+markers",
            "name": title,
            "legendgroup": curve.name,
            "line": {"color": colour, "width": 2.4, "dash": dash},
            "marker": {"size": 6},
        }
        metrics = [
            f"<b>{title}</b>, epoch {epoch:g}<br>{metric_text(info.metric, value)}<extra></extra>"
            for epoch, value in zip(curve.epochs, curve.metric, strict=True)
        ]
        losses = [
            f"<b>{title}</b>, epoch {epoch:g}<br>loss {value:.4g}<extra></extra>"
            for epoch, value in zip(curve.epochs, curve.loss, strict=True)
        ]
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
                marker={
                    "symbol": mark,
                    "size": 13 if mark.startswith("triangle") else 11,
                    "color": palette.rung_colour(rung),
                    "line": {"color": "white", "width": 1},
                },
            )


def _reference(p: Point, title: str, marker: Mapping[str, Any], info: FrontInfo) -> Figure:
    name = f"{title}, {'retrained' if p.rung == 'full' else 'calibrated only'}"
    return go.Scatter(
        x=[p.amount], y=[p.metric], mode="markers", name=name, marker=marker, hovertemplate=[point_hover(p, name, info.cost, info.metric)]
    )


def _height(format: NumberFormat) -> float:
    return _FLOAT_HEIGHT if format.is_float else format.bits_per_value


def _bar_colour(format: NumberFormat) -> str:
    shades = ("#c9d8ea", "#a8c2de", "#86abd2", "#6594c5", "#477db4", "#3068a1", "#20568f", "#15457a")
    return "#0d2f57" if format.is_float else shades[format.bits - 1]
