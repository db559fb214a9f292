"""Marks and colours tell rungs and series apart."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from mpsearch.report.palette import RUNGS, SERIES, rung_colour, rung_mark, rung_title


def test_rungs_that_train_differ_in_colour_and_mark() -> None:
    trained = ("ptq", "short", "long", "full")
    assert len({rung_colour(rung) for rung in trained}) == len({rung_mark(rung) for rung in trained}) == len(trained)
    assert len({colour for colour, _, _ in SERIES.values()}) == len({dash for _, dash, _ in SERIES.values()}) == len(SERIES)


def test_a_rung_of_ones_own_keeps_its_name_and_looks_like_no_other() -> None:
    assert rung_title("mine") == "mine"
    assert (rung_colour("mine"), rung_mark("mine")) not in {(colour, mark) for colour, mark, _ in RUNGS.values()}


def test_plotly_knows_every_mark() -> None:
    for rung in (*RUNGS, "mine"):
        go.scatter.Marker(symbol=rung_mark(rung))
    with pytest.raises(ValueError, match="symbol"):
        go.scatter.Marker(symbol="no such mark")
