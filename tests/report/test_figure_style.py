"""The common style of figures."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from mpsearch.report.figure_style import log_axis, metric_axis, note, style
from mpsearch.report.info import history_info
from tests.report.summaries import HOSTILE, make_summary


@pytest.mark.parametrize("height", [300, 580])
def test_the_legend_keeps_its_distance_at_any_height(height: int) -> None:
    figure = go.Figure()
    style(figure, HOSTILE, height)
    margin = figure.layout.margin
    assert -figure.layout.legend.y * (height - margin.t - margin.b) == pytest.approx(78)
    assert "<script" not in figure.layout.title.text


def test_fractions_are_in_percent_and_others_are_not() -> None:
    for metric, format in (("accuracy", ".1~%"), ("MSE", None)):
        figure = go.Figure()
        metric_axis(figure, replace(history_info(make_summary()), metric=metric))
        assert figure.layout.yaxis.tickformat == format
        assert figure.layout.yaxis.title.text == f"validation {metric}"


def test_notes_are_text_and_axes_become_logarithmic_when_wanted() -> None:
    figure = go.Figure()
    note(figure, HOSTILE, "#000000", x=0, y=0)
    assert "<script" not in figure.layout.annotations[0].text
    log_axis(figure.update_xaxes, False)
    log_axis(figure.update_yaxes, True)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == (None, "log")


def test_buttons_switch_between_the_close_up_and_everything() -> None:
    info, figure = replace(history_info(make_summary()), hidden=1), go.Figure()
    metric_axis(figure, info)
    near, far = (button.args[0]["yaxis.range"] for button in figure.layout.updatemenus[0].buttons)
    assert tuple(near) == info.view
    assert far[0] < min(p.metric for p in info.points)
    assert far[1] > max(p.metric for p in info.points)
