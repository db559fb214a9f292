"""Pictures in Plotly, painted from `info`; the one file that imports plotly."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.report import palette
from mpsearch.report.info import BitsInfo, CurvesInfo, FrontInfo, HistoryInfo, Point, SignalInfo
from mpsearch.report.wording import amount_text, bits_text, is_fraction, metric_text, shape_text

__all__ = ["Figure", "bits_figure", "curves_figure", "figure_html", "front_figure", "history_figure", "plotly_script", "signals_figure"]

Figure: TypeAlias = Any
"""A `plotly.graph_objects.Figure`; plotly ships no types."""

_UNITS = {"size": "B", "latency": "s", "bops": "BOPs", "bits": ""}
_AXIS_TITLES = {"size": "size of the file", "latency": "latency", "bops": "bit operations", "bits": "mean weight bits"}
_FLOAT_HEIGHT = 10
_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}


def plotly_script() -> str:
    """The text of plotly.js, to be inlined once."""
    return str(get_plotlyjs())


def figure_html(figure: Figure, div_id: str) -> str:
    """A `<div>` and the script that fills it; the title is left to the page around it."""
    figure = go.Figure(figure).update_layout(title=None, margin_t=24 if not figure.layout.updatemenus else 56)
    height = f"{figure.layout.height}px"
    return str(plotly.io.to_html(figure, config=_CONFIG, full_html=False, include_plotlyjs=False, div_id=div_id, default_height=height))


def front_figure(info: FrontInfo) -> Figure:
    """Metric against cost: every trial by rung, the front as a step line, float, uniform, winner and budget."""
    figure = go.Figure()
    drawn = [*info.points, *(p for p in (info.uniform, info.winner) if p is not None)]
    right = max([p.amount for p in drawn] + ([info.limit] if info.limit is not None else []), default=1.0)
    left = min([p.amount for p in drawn] + ([info.limit] if info.limit is not None else []), default=0.0)
    if info.front:
        steps = [(p.amount, p.metric) for p in info.front] + [(right, info.front[-1].metric)]
        xs, ys = [list(side) for side in zip(*steps, strict=True)]
        line = {"shape": "hv", "color": palette.INK, "width": 1.6}
        figure.add_scatter(x=xs, y=ys, mode="lines", name="front of the trials", line=line, hoverinfo="skip", opacity=0.55)
    for rung in info.rungs:
        figure.add_trace(_rung_trace([p for p in info.points if p.rung == rung], rung, info))
    if info.float_metric is not None:
        figure.add_hline(y=info.float_metric, line={"color": palette.FLOAT, "width": 1.4, "dash": "dash"})
        label = f"float {metric_text(info.metric, info.float_metric)}"
        _note(figure, label, palette.FLOAT, x=0.004, xref="paper", xanchor="left", y=info.float_metric, yanchor="bottom")
    if info.limit is not None:
        figure.add_vline(x=info.limit, line={"color": palette.BUDGET, "width": 1.4, "dash": "dot"})
        _note(
            figure,
            f"budget {info.limit_text}",
            palette.BUDGET,
            x=_log(info.limit) if info.log_axis else info.limit,
            xanchor="right",
            y=0.01,
            yref="paper",
            yanchor="bottom",
        )
    if info.uniform is not None:
        marker = {"symbol": "diamond", "size": 13, "color": palette.UNIFORM, "line": {"color": "white", "width": 1.5}}
        figure.add_trace(_single(info.uniform, "best uniform, retrained", marker, info))
    if info.winner is not None:
        marker = {"symbol": "star", "size": 20, "color": palette.ACCENT, "line": {"color": "white", "width": 1.5}}
        figure.add_trace(_single(info.winner, "winner, retrained", marker, info))
    _style(figure, info.finding, 580)
    figure.update_xaxes(title=_AXIS_TITLES.get(info.cost, info.cost), tickformat="~s" if info.cost in ("size", "latency", "bops") else None)
    figure.update_xaxes(ticksuffix=_UNITS.get(info.cost, ""), type="log" if info.log_axis else "linear")
    if info.log_axis:
        figure.update_xaxes(dtick="D2", range=[_log(left) - 0.05, _log(right) + 0.05])
    _metric_axis(figure, info.metric, "validation")
    figure.update_yaxes(range=list(info.view))
    if info.hidden:
        _zoom_buttons(figure, info)
    return figure


def bits_figure(info: BitsInfo) -> Figure:
    """Weight bits of the winner's layers as bars, activation bits as markers, the uniform allocation as a line."""
    figure = go.Figure()
    names = [_escape(_short(layer.name)) for layer in info.layers]
    places = list(range(len(names)))
    hover = [
        f"<b>{_escape(layer.name)}</b><br>{_escape(layer.kind)} {shape_text(layer.shape)}<br>"
        f"weights {bits_text(layer.weight_bits)} bit, activations {bits_text(layer.act_bits)} bit<br>"
        f"{layer.bytes:,} B in the file, {100 * layer.share:.1f} % of the layers<extra></extra>"
        for layer in info.layers
    ]
    marker = {"color": [_bar_colour(layer.weight_bits) for layer in info.layers], "line": {"width": 0}}
    figure.add_bar(
        x=places,
        y=[_height(layer.weight_bits) for layer in info.layers],
        name="weights",
        marker=marker,
        hovertemplate=hover,
        text=[bits_text(layer.weight_bits) for layer in info.layers],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 12, "color": palette.INK},
    )
    uniform = [layer.uniform_weight_bits for layer in info.layers]
    if info.layers and uniform[0] is not None:
        heights = [_height(bits) for bits in uniform if bits is not None]
        line = {"shape": "hvh", "color": palette.UNIFORM, "width": 1.6, "dash": "dash"}
        figure.add_scatter(x=places, y=heights, mode="lines", name="weights of the best uniform", line=line, hoverinfo="skip")
    if any(layer.act_bits != FLOAT_BITS for layer in info.layers):
        symbol = {"symbol": "diamond", "size": 9, "color": palette.ACCENT, "line": {"color": "white", "width": 1.2}}
        heights = [_height(layer.act_bits) for layer in info.layers]
        figure.add_scatter(x=places, y=heights, mode="markers", name="activations", marker=symbol, hovertemplate=hover)
    _style(figure, info.finding, 460)
    tallest = max([_height(bits) for layer in info.layers for bits in (layer.weight_bits, layer.act_bits if info.mean_act_bits is not None else 1)], default=8)
    ticks = [*range(1, min(tallest, 8) + 1), *([_FLOAT_HEIGHT] if tallest > 8 else [])]
    figure.update_yaxes(title="bits", tickvals=ticks, ticktext=[bits_text(FLOAT_BITS) if tick > 8 else str(tick) for tick in ticks], range=[0, tallest * 1.1])
    every = max(1, -(-len(names) // 48))
    figure.update_xaxes(tickvals=places[::every], ticktext=names[::every], tickangle=-50, showgrid=False, tickfont={"size": 12}, range=[-0.7, len(names) - 0.3])
    figure.update_layout(bargap=0.25, legend={"y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}, showlegend=True)
    return figure


def signals_figure(infos: Sequence[SignalInfo]) -> Figure:
    """One panel a signal: what it predicts for a trial's bits against the loss those bits have without training."""
    drawn = [info for info in infos if info.pairs]
    figure = make_subplots(rows=1, cols=max(1, len(drawn)), shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=[_escape(i.finding.rstrip(".")) for i in drawn])
    for column, info in enumerate(drawn, start=1):
        hover = [f"<b>trial {pair.number}</b> · {_escape(pair.origin)}<br>predicted {pair.predicted:.4g}<br>measured {pair.measured:.4g}<extra></extra>" for pair in info.pairs]
        marker = {"symbol": "circle", "size": 10, "color": palette.RUNGS["long"][0], "opacity": 0.75, "line": {"color": "white", "width": 1}}
        xs, ys = [pair.predicted for pair in info.pairs], [pair.measured for pair in info.pairs]
        figure.add_scatter(x=xs, y=ys, mode="markers", marker=marker, hovertemplate=hover, showlegend=False, row=1, col=column)
        unit = f", {_escape(info.unit)}" if info.unit else ""
        figure.update_xaxes(title=f"{_escape(info.name)}: predicted for the bits{unit}", row=1, col=column)
        _maybe_log(figure.update_xaxes, info.log_predicted, row=1, col=column)
        _maybe_log(figure.update_yaxes, info.log_measured, row=1, col=column)
        if info.float_loss is not None:
            figure.add_hline(y=info.float_loss, line={"color": palette.FLOAT, "width": 1.4, "dash": "dash"}, row=1, col=column)
    _style(figure, " ".join(info.finding for info in drawn), 440)
    figure.update_annotations(font={"size": 14, "color": palette.INK})
    figure.update_yaxes(title="validation loss without training", row=1, col=1)
    if drawn and drawn[0].float_loss is not None:
        y = _log(drawn[0].float_loss) if drawn[0].log_measured and drawn[0].float_loss > 0 else drawn[0].float_loss
        _note(figure, "float", palette.FLOAT, x=0.004, xref="x domain", xanchor="left", y=y, yanchor="bottom")
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
    for rung in info.rungs:
        figure.add_trace(_rung_trace([p for p in info.points if p.rung == rung], rung, info))
    if info.failed:
        floor = min(p.metric for p in info.points) if info.points else 0.0
        notes = [f"<b>trial {number} failed</b><br>{_escape(note)}<extra></extra>" for number, note in info.failed]
        marker = {"symbol": "x", "size": 10, "color": palette.BUDGET}
        xs = [number for number, _ in info.failed]
        figure.add_scatter(x=xs, y=[floor] * len(xs), mode="markers", name="failed", marker=marker, hovertemplate=notes)
    _style(figure, info.finding, 440)
    figure.update_xaxes(title="trial", showgrid=False, tickformat="d", dtick=1 if len(info.points) <= 30 else None)
    _metric_axis(figure, info.metric, "validation")
    return figure


def curves_figure(info: CurvesInfo) -> Figure:
    """Validation metric and training loss by epoch of everything that was retrained."""
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=[f"validation {_escape(info.metric)}", "training loss"])
    for curve in info.curves:
        colour, dash, title = palette.SERIES[curve.name]
        shared = {"mode": "lines+markers", "name": title, "legendgroup": curve.name, "line": {"color": colour, "width": 2.4, "dash": dash}, "marker": {"size": 6}}
        metrics = [f"<b>{title}</b>, epoch {epoch:g}<br>{metric_text(info.metric, value)}<extra></extra>" for epoch, value in zip(curve.epochs, curve.metric, strict=True)]
        losses = [f"<b>{title}</b>, epoch {epoch:g}<br>loss {value:.4g}<extra></extra>" for epoch, value in zip(curve.epochs, curve.loss, strict=True)]
        figure.add_scatter(x=curve.epochs, y=curve.metric, hovertemplate=metrics, row=1, col=1, **shared)
        figure.add_scatter(x=curve.epochs, y=curve.loss, hovertemplate=losses, row=1, col=2, showlegend=False, **shared)
    if info.float_metric is not None:
        figure.add_hline(y=info.float_metric, line={"color": palette.FLOAT, "width": 1.4, "dash": "dash"}, row=1, col=1)
    _style(figure, info.finding, 430)
    figure.update_annotations(font={"size": 14, "color": palette.INK})
    if info.float_metric is not None:
        label = f"float {metric_text(info.metric, info.float_metric)}"
        _note(figure, label, palette.FLOAT, x=0.01, xref="x domain", xanchor="left", y=info.float_metric, yanchor="bottom")
    epochs = max((len(curve.epochs) for curve in info.curves), default=1)
    figure.update_xaxes(title="epoch", showgrid=False, tickformat="d", dtick=1 if epochs <= 15 else None)
    if is_fraction(info.metric):
        figure.update_yaxes(tickformat=".1%", row=1, col=1)
    return figure


def _rung_trace(points: Sequence[Point], rung: str, info: FrontInfo | HistoryInfo) -> Figure:
    cost = info.cost if isinstance(info, FrontInfo) else None
    return go.Scatter(
        x=[p.number if cost is None else p.amount for p in points],
        y=[p.metric for p in points],
        mode="markers",
        name=palette.rung_title(rung),
        hovertemplate=[_hover(p, f"trial {p.number}", cost, info.metric) for p in points],
        marker={
            "symbol": palette.rung_mark(rung),
            "size": 11,
            "color": palette.rung_colour(rung),
            "opacity": [1.0 if p.feasible else 0.45 for p in points],
            "line": {"color": "white", "width": 1},
        },
    )


def _single(p: Point, name: str, marker: Mapping[str, Any], info: FrontInfo) -> Figure:
    return go.Scatter(x=[p.amount], y=[p.metric], mode="markers", name=name, marker=marker, hovertemplate=[_hover(p, name, info.cost, info.metric)])


def _hover(p: Point, title: str, cost: str | None, metric: str) -> str:
    amount = "" if cost is None else f" at {amount_text(cost, p.amount)}"
    rows = [
        f"<b>{title}</b> · {_escape(p.origin)} · {_escape(palette.rung_title(p.rung))}",
        f"{_escape(metric)} {metric_text(metric, p.metric)}{amount}{'' if p.feasible else ' · over the budget'}",
        *(_escape(line).replace("    ", "&nbsp;&nbsp;&nbsp;") for line in p.bits),
    ]
    return "<br>".join(rows) + "<extra></extra>"


def _zoom_buttons(figure: Figure, info: FrontInfo) -> None:
    metrics = [p.metric for p in info.points] + [info.view[0], info.view[1]]
    margin = 0.04 * (max(metrics) - min(metrics))
    everything = [min(metrics) - margin, max(metrics) + margin]
    buttons = [
        {"label": "close-up", "method": "relayout", "args": [{"yaxis.range": list(info.view)}]},
        {"label": f"all trials ({info.hidden} more)", "method": "relayout", "args": [{"yaxis.range": everything}]},
    ]
    place = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 0}}
    look = {"bgcolor": "white", "bordercolor": palette.GRID, "font": {"size": 13, "color": palette.INK}, "showactive": True}
    figure.update_layout(updatemenus=[{**place, **look, "buttons": buttons}])


def _style(figure: Figure, title: str, height: int) -> None:
    figure.update_layout(
        template="none",
        height=height,
        autosize=True,
        paper_bgcolor=palette.PAPER,
        plot_bgcolor=palette.PAPER,
        font={"family": palette.FONT, "size": 14, "color": palette.INK},
        title={"text": _escape(title), "x": 0, "xref": "container", "font": {"size": 17}, "pad": {"l": 12}},
        margin={"l": 76, "r": 24, "t": 64, "b": 64},
        legend={"orientation": "h", "y": -0.17, "yanchor": "top", "x": 0, "xanchor": "left", "font": {"size": 13}},
        hoverlabel={"bgcolor": "white", "bordercolor": palette.MUTED, "font": {"size": 13, "color": palette.INK, "family": palette.FONT}, "align": "left"},
        hovermode="closest",
    )
    axis = {"showline": True, "linecolor": "#c3ccd6", "gridcolor": palette.GRID, "zeroline": False, "ticks": "outside", "tickcolor": "#c3ccd6", "automargin": True}
    figure.update_xaxes(**axis, title_font={"size": 14, "color": palette.MUTED})
    figure.update_yaxes(**axis, title_font={"size": 14, "color": palette.MUTED})


def _metric_axis(figure: Figure, metric: str, split: str) -> None:
    figure.update_yaxes(title=f"{split} {_escape(metric)}", tickformat=".1~%" if is_fraction(metric) else None)


def _note(figure: Figure, text: str, colour: str, **place: Any) -> None:
    figure.add_annotation(text=_escape(text), showarrow=False, font={"size": 13, "color": colour}, bgcolor="rgba(255,255,255,0.75)", **place)


def _maybe_log(update: Any, wanted: bool, **place: Any) -> None:
    if wanted:
        update(type="log", dtick="D2", **place)


def _log(value: float) -> float:
    import math

    return math.log10(value)


def _height(bits: int) -> int:
    return _FLOAT_HEIGHT if bits == FLOAT_BITS else bits


def _bar_colour(bits: int) -> str:
    shades: Iterable[str] = ("#c9d8ea", "#a8c2de", "#86abd2", "#6594c5", "#477db4", "#3068a1", "#20568f", "#15457a")
    return "#0d2f57" if bits == FLOAT_BITS else list(shades)[bits - 1]


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
