from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.errors import UsageError
from mpsearch.report.info.explorer import ShownRun
from mpsearch.report.runs_page import run_names, write_runs_page
from tests.report.summaries import HOSTILE, hostile_summary, make_summary

SUMMARY = make_summary()


def test_a_row_for_every_run_and_a_word_on_the_best_and_the_smallest(tmp_path: Path) -> None:
    small = replace(SUMMARY, seed=3, test={}, winner=replace(SUMMARY.winner, costs={**SUMMARY.winner.costs, "size": 60_000.0}))
    worse = replace(small.winner, scores={**small.winner.scores, "full": replace(small.winner.score, error=0.2, metric=0.8)})
    runs = [ShownRun(name="large", summary=SUMMARY), ShownRun(name="small", summary=replace(small, winner=worse))]
    page = write_runs_page(runs, tmp_path / "runs.html").read_text()
    best = f"that of large: {100 * SUMMARY.winner.score.metric:.2f} % in {SUMMARY.winner.costs['size']:,.0f} B"
    assert f"{best}. The smallest is that of small: 80.00 % in 60,000 B." in page
    assert page.count("<tr>") == 3
    assert "different seeds" in page
    assert "different data" not in page


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    runs = [ShownRun(name="a", summary=SUMMARY), ShownRun(name="b", summary=replace(SUMMARY, data="digits"))]
    assert "The runs are of different data (imagefolder:data/cifar10, digits)" in write_runs_page(runs, tmp_path / "x.html").read_text()
    with pytest.raises(UsageError, match="cannot share an axis"):
        write_runs_page([runs[0], ShownRun(name="b", summary=replace(SUMMARY, metric="r2"))], tmp_path / "y.html")
    assert not (tmp_path / "y.html").exists()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    runs = [ShownRun(name=f"{HOSTILE}{seed}", summary=hostile_summary()) for seed in range(2)]
    page = write_runs_page(runs, tmp_path / "x.html").read_text()
    assert HOSTILE not in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("folders", "names"),
    [(["runs/a", "runs/b"], ["a", "b"]), (["x/run", "y/run"], ["x/run", "y/run"]), (["x/1/run", "x/2/run"], ["1/run", "2/run"])],
    ids=str,
)
def test_names_are_the_shortest_that_differ(folders: list[str], names: list[str], tmp_path: Path) -> None:
    assert run_names([tmp_path / folder for folder in folders]) == names
