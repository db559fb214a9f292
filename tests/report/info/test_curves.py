"""Curves of what was retrained, and why one is missing."""

from __future__ import annotations

from dataclasses import replace

from mpsearch.report.info import curves_info
from tests.report.summaries import make_summary


def test_curves_of_all_that_was_retrained() -> None:
    summary = make_summary()
    info = curves_info(summary)
    assert [curve.name for curve in info.curves] == ["winner", "uniform", "control"]
    assert info.curves[0].epochs == tuple(float(epoch) for epoch in range(1, 11))
    assert info.curves[0].metric[-1] == summary.winner.score.metric
    assert info.missing == ()


def test_missing_curves_are_named() -> None:
    summary = make_summary()
    info = curves_info(replace(summary, uniform=None, control=None))
    assert len(info.missing) == 2
    nothing = curves_info(replace(summary, winner=replace(summary.winner, curve=()), uniform=None, control=None))
    assert nothing.curves == ()
    assert nothing.empty


def test_an_epoch_without_a_measurement_leaves_a_gap() -> None:
    summary = make_summary()
    curve = ({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4, "metric": 0.8})
    info = curves_info(replace(summary, winner=replace(summary.winner, curve=curve)))
    assert info.curves[0].metric[0] != info.curves[0].metric[0]
    assert info.curves[0].metric[1] == 0.8
