from __future__ import annotations

from dataclasses import replace
from typing import Any

from mpsearch.report.charts import curves_charts, history_charts, signals_charts
from mpsearch.report.info import curves_info, history_info, signal_infos
from tests.report.summaries import make_summary

SUMMARY = make_summary()


def marks(chart: dict[str, Any]) -> list[dict[str, Any]]:
    return [point for series in chart["series"] if series["kind"] == "marks" for point in series["points"]]


def test_history_has_a_mark_for_every_trial_the_failed_ones_at_the_foot() -> None:
    (chart,) = history_charts(history_info(SUMMARY))
    assert sorted(point["x"] for point in marks(chart)) == [record.number for record in SUMMARY.trials]
    (failed,) = (point for point in marks(chart) if "failed" in point["tip"][0])
    assert failed["x"] == 7
    assert chart["y"]["low"] < failed["y"] < chart["y"]["low"] + 0.1 * (chart["y"]["high"] - chart["y"]["low"])


def test_signals_have_a_panel_each_that_holds_all_pairs_and_the_float_loss() -> None:
    panels = signals_charts(signal_infos(SUMMARY))
    assert [panel["x"]["title"] for panel in panels] == ["fisher: predicted, nats", "measured: predicted, nats"]
    for panel in panels:
        assert len(marks(panel)) == 19
        for point in (*marks(panel), {"x": panel["x"]["low"], "y": panel["lines"][0]["at"]}):
            assert panel["x"]["low"] <= point["x"] <= panel["x"]["high"]
            assert panel["y"]["low"] <= point["y"] <= panel["y"]["high"]


def test_curves_leave_out_epochs_without_a_figure() -> None:
    curve = ({"epoch": 1.0, "metric": 0.5}, {"epoch": 2.0, "metric": 0.6, "loss": 0.3})
    metric, loss = curves_charts(curves_info(replace(SUMMARY, winner=replace(SUMMARY.winner, curve=curve), uniform=None, control=None)))
    assert [point["y"] for point in marks(metric)] == [0.5, 0.6]
    assert [point["y"] for point in marks(loss)] == [0.3]
    assert [line["at"] for line in metric["lines"]] == [SUMMARY.reference.scores["validation"].metric]
    assert loss["lines"] == []
