"""The front as a picture: every trial once, whatever the cost and the metric, in the form that the name says."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpsearch.core.errors import UsageError
from mpsearch.report.info import front_costs, front_info
from mpsearch.report.picture import PICTURE_SUFFIXES, front_picture, write_picture
from tests.report.summaries import hostile_summary, make_summary

HEADS = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_the_suffix_says_the_form(suffix: str, tmp_path: Path) -> None:
    file = write_picture(make_summary(), tmp_path / f"front{suffix}")
    assert file.read_bytes().startswith(HEADS[suffix])
    again = write_picture(make_summary(), tmp_path / f"again{suffix}")
    assert file.read_bytes() == again.read_bytes()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.svg, \.png, \.pdf"):
        write_picture(make_summary(), tmp_path / "front.bmp")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("uniform", [True, False])
def test_every_trial_and_reference_is_one_mark(uniform: bool) -> None:
    summary = make_summary() if uniform else replace(make_summary(), uniform=None)
    for cost in front_costs(summary):
        info = front_info(summary, cost=cost)
        (axes,) = front_picture(info, "title").axes
        marks = sorted(tuple(point) for collection in axes.collections for point in np.asarray(collection.get_offsets()).tolist())
        expected = [*info.points, info.winner, *([info.uniform] if info.uniform else [])]
        assert marks == sorted((point.amount, point.metric) for point in expected)
        low, high = axes.get_xlim()
        assert low < info.span[0] <= info.span[1] < high


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    root = ElementTree.fromstring(write_picture(hostile_summary(), tmp_path / "front.svg").read_bytes())
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_a_name_is_no_formula_and_commands_no_terminal(tmp_path: Path) -> None:
    summary, formula = make_summary(), "$\\frac{$"
    trials = tuple(replace(trial, rung=formula, scores={formula: trial.score}) for trial in summary.trials[:3])
    budget = replace(summary.budgets[0], text=formula)
    forged = replace(summary, model="$\\undefined{x}$ \x1b[31m", trials=trials, budgets=(budget,))
    root = ElementTree.fromstring(write_picture(forged, tmp_path / "front.svg").read_bytes())
    words = [str(element.text) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "$\\undefined{x}$ \\x1b[31m: validation accuracy against size" in words
    assert {f"budget {formula}", formula} <= set(words)
