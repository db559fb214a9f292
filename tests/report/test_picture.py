from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.report.info import front_info
from mpsearch.report.picture import front_svg, ticks, write_front_svg
from tests.report.summaries import make_summary

SVG = "{http://www.w3.org/2000/svg}"


def _texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_picture_is_well_formed_and_says_what_is_seen(tmp_path: Path) -> None:
    path = write_front_svg(make_summary(), tmp_path / "docs" / "front.svg")
    root = ElementTree.parse(path).getroot()
    texts = _texts(root)
    assert "float 89.34 %" in texts
    assert "budget 80KB" in texts
    assert {"short QAT", "longer QAT", "best uniform, retrained", "winner, retrained"} <= set(texts)
    assert "4 more trials outside this view" in texts


def test_every_shown_trial_is_one_mark_inside_the_frame() -> None:
    info = front_info(make_summary())
    root = ElementTree.fromstring(front_svg(info, title="t"))
    squares = [r for r in root.iter(f"{SVG}rect") if r.get("width") == "10"]
    shown = [p for p in info.points if p.rung == "short" and info.view[0] <= p.metric <= info.view[1]]
    assert len(squares) == len(shown) + 1  # one more in the legend
    assert all(84 - 5 <= float(r.attrib["x"]) <= 836 for r in squares)


@pytest.mark.parametrize("log_axis", [False, True])
def test_either_axis(log_axis: bool) -> None:
    root = ElementTree.fromstring(front_svg(replace(front_info(make_summary()), log_axis=log_axis), title="t"))
    assert any(text.endswith(" KB") for text in _texts(root))


def test_text_is_escaped_and_emptiness_explained() -> None:
    info = front_info(replace(make_summary(), trials=(), winner=None, uniform=None))
    root = ElementTree.fromstring(front_svg(info, title='<script>"a" & b'))
    assert '<script>"a" & b' in _texts(root)
    assert "No trial was run, so there is no front yet." in _texts(root)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_few_and_inside(low: float, width: float) -> None:
    values = ticks(low, low + width)
    assert 2 <= len(values) <= 8
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in values)
