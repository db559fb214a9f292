"""The common style of the Plotly figures: fonts, axes, legend, notes, close-up buttons. It needs no import of Plotly."""

from __future__ import annotations

from typing import Any, TypeAlias

from mpsearch.report import palette
from mpsearch.report.hover import escaped
from mpsearch.report.info import FrontInfo, HistoryInfo
from mpsearch.report.wording import is_fraction

__all__ = ["Figure", "log_axis", "metric_axis", "note", "style"]

Figure: TypeAlias = Any
"""A `plotly.graph_objects.Figure`; plotly ships no types."""

_MARGIN = {"l": 76, "r": 24, "t": 64, "b": 64}
_LEGEND_BELOW = 78
_AXIS_LINE = "#c3ccd6"


def style(figure: Figure, title: str, height: int) -> None:
    """Set fonts, colours, margins, legend and axes; call this before titles and ranges are set."""
    plot_height = height - _MARGIN["t"] - _MARGIN["b"]
    font = {"family": palette.FONT, "color": palette.INK}
    figure.update_layout(
        template="none",
        height=height,
        autosize=True,
        paper_bgcolor=palette.PAPER,
        plot_bgcolor=palette.PAPER,
        font={**font, "size": 14},
        title={"text": escaped(title), "x": 0, "xref": "container", "font": {"size": 17}, "pad": {"l": 12}},
        margin=_MARGIN,
        # Relative to the height of the plot, so that the legend clears the axis title in figures of any height.
        legend={"orientation": "h", "y": -_LEGEND_BELOW / plot_height, "yanchor": "top", "x": 0, "xanchor": "left", "font": {"size": 13}},
        hoverlabel={"bgcolor": "white", "bordercolor": palette.MUTED, "font": {**font, "size": 13}, "align": "left"},
        hovermode="closest",
    )
    axis = {"showline": True, "linecolor": _AXIS_LINE, "ticks": "outside", "tickcolor": _AXIS_LINE, "gridcolor": palette.GRID}
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(**axis, zeroline=False, automargin=True, title_standoff=12, title_font={"size": 14, "color": palette.MUTED})
    figure.update_annotations(font={"size": 14, "color": palette.INK})


def metric_axis(figure: Figure, info: FrontInfo | HistoryInfo) -> None:
    """Label the vertical axis with the validation metric, in percent if it is a fraction; with buttons if the close-up hides trials."""
    form = ".1~%" if is_fraction(info.metric) else None
    figure.update_yaxes(title_text=f"validation {escaped(info.metric)}", tickformat=form, range=list(info.view))
    if info.hidden:
        _add_close_up_buttons(figure, info)


def note(figure: Figure, text: str, colour: str, **place: Any) -> None:
    """Write a note beside a line."""
    font = {"size": 13, "color": colour}
    figure.add_annotation(text=escaped(text), showarrow=False, font=font, bgcolor="rgba(255,255,255,0.75)", **place)


def log_axis(update: Any, wanted: bool, **place: Any) -> None:
    """Make an axis logarithmic if wanted; `update` is `update_xaxes` or `update_yaxes` of a figure."""
    if wanted:
        update(type="log", dtick="D2", **place)


def _add_close_up_buttons(figure: Figure, info: FrontInfo | HistoryInfo) -> None:
    """Add two buttons that switch the metric's axis between the close-up and all trials."""
    metrics = [p.metric for p in info.points] + list(info.view)
    margin = 0.04 * (max(metrics) - min(metrics))
    everything = [min(metrics) - margin, max(metrics) + margin]
    buttons = [
        {"label": "close-up", "method": "relayout", "args": [{"yaxis.range": list(info.view)}]},
        {"label": f"all trials ({info.hidden} more)", "method": "relayout", "args": [{"yaxis.range": everything}]},
    ]
    place = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 0}}
    look = {"bgcolor": "white", "bordercolor": palette.GRID, "font": {"size": 13, "color": palette.INK}, "showactive": True}
    figure.update_layout(updatemenus=[{**place, **look, "buttons": buttons}])
