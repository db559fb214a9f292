"""Callbacks hear of every trial, epoch and end once, whatever stops the run and whoever runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import mpsearch
from mpsearch.core.errors import ConfigError, UsageError
from mpsearch.core.progress import Silent
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.loggers import Begun, Callback
from mpsearch.run import Announcer
from mpsearch.run.announce import TOLD
from mpsearch.run.pipeline import retrain, run_study
from tests.run.searches import small
from tests.run.tiny import tiny_study


class Heard(Callback):
    """Keeps what it hears; `until` raises at that word."""

    def __init__(self, name: str = "", until: str = "") -> None:
        self.name, self._until = name, until
        self.words: list[str] = []
        self.points: list[tuple[str, Mapping[str, float]]] = []
        self.begun: list[Begun] = []

    def _hear(self, word: str) -> None:
        if word == self._until:
            raise RuntimeError(f"stopped at\n{word}")
        self.words.append(word)

    def on_begin(self, run: Begun) -> None:
        self.begun.append(run)
        self._hear("begin")

    def on_trial(self, record: Record) -> None:
        self._hear(f"trial {record.number}")

    def on_epoch(self, network: str, point: Mapping[str, float]) -> None:
        self.points.append((network, point))
        self._hear(f"{network} {point['epoch']:g}")

    def on_end(self, summary: Summary) -> None:
        self._hear("end")

    def close(self) -> None:
        self._hear("close")


def quick(tmp_path: Path, **changes: Any) -> mpsearch.Result:
    """A search that trains its winner and the uniform reference for one epoch, and no trial."""
    return small(tmp_path, **{"effort": "quick", "trials": 2, **changes})


def test_a_search_is_told_in_its_order_and_shows_itself(tmp_path: Path) -> None:
    heard = Heard()
    result = quick(tmp_path, callbacks=[heard], epochs=2)
    summary = result.summary
    trials = [f"trial {record.number}" for record in summary.trials]
    assert heard.words[: 1 + len(trials)] == ["begin", *trials]
    assert heard.words[1 + len(trials) :][:2] == ["winner 1", "winner 2"]
    assert heard.words[-2:] == ["end", "close"]
    assert len(set(heard.words)) == len(heard.words)
    winner = [point for network, point in heard.points if network == "winner"]
    assert winner == list((summary.searched or summary.winner).curve)
    assert heard.begun[0].directory == tmp_path / "run"
    assert heard.begun[0].metric == summary.metric
    assert heard.begun[0].study["retrain"]["epochs"] == 2
    assert isinstance(result.plot(), go.Figure)
    assert str(tmp_path / "run") in getattr(result, "_repr_html_")()  # noqa: B009 - as a notebook asks for it


def test_a_callback_changes_no_result(tmp_path: Path) -> None:
    without, told = quick(tmp_path / "a"), quick(tmp_path / "b", callbacks=[Heard("mine")])
    assert without.path.read_bytes() == told.path.read_bytes()
    assert [record.scores for record in without.summary.trials] == [record.scores for record in told.summary.trials]


@pytest.mark.parametrize("until", ["begin", "trial 1", "winner 1", "end"])
def test_a_run_goes_on_where_a_callback_of_ones_own_ended_it(until: str, tmp_path: Path) -> None:
    first = Heard(until=until)
    with pytest.raises(RuntimeError, match="stopped at"):
        quick(tmp_path, callbacks=[first])
    assert ("close" in first.words) == (until != "begin")
    again, alone = Heard(), Heard()
    quick(tmp_path, callbacks=[again])
    quick(tmp_path / "alone", callbacks=[alone])
    assert again.words == alone.words


def test_one_with_a_name_hears_in_the_next_process_what_it_has_not_heard(tmp_path: Path) -> None:
    first, second, alone = Heard("mine"), Heard("mine"), Heard()
    with pytest.raises(RuntimeError, match="stopped"):
        quick(tmp_path, callbacks=[first, Heard(until="trial 1")])
    quick(tmp_path, callbacks=[second])
    quick(tmp_path / "alone", callbacks=[alone])
    assert first.words == ["begin", "trial 0", "trial 1", "close"]
    assert second.words == ["begin", *alone.words[3:]]
    assert first.begun[0].identity == second.begun[0].identity


def test_a_run_that_has_ended_is_told_to_one_who_comes_late_and_only_once(tmp_path: Path) -> None:
    alone, late, again = Heard(), Heard("late"), Heard("late")
    quick(tmp_path, callbacks=[alone])
    quick(tmp_path, callbacks=[late])
    quick(tmp_path, callbacks=[again])
    assert sorted(late.words) == sorted(alone.words)
    assert again.words == ["begin", "close"]


def test_a_tracker_out_of_reach_costs_no_run_and_is_told_the_rest_later(tmp_path: Path) -> None:
    lines: list[str] = []
    broken, whole = Heard("tracker", until="trial 1"), Heard("tracker")
    config = tiny_study(retrain={"epochs": 1, "uniform": False})
    first = run_study(config, tmp_path / "run", "", Silent(), announcer=Announcer([broken], lines.append))
    assert broken.words == ["begin", "trial 0", "close"]
    (line,) = lines
    assert "the logger 'tracker' failed (RuntimeError: stopped at trial 1) and is told no more" in line
    again = run_study(config, tmp_path / "run", "", Silent(), announcer=Announcer([whole]))
    assert again.to_dict() == first.to_dict()
    assert whole.words == ["begin", "trial 1", "winner 1", "end", "close"]


def test_in_python_a_tracker_out_of_reach_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="the logger 'tracker' failed"):
        quick(tmp_path, callbacks=[Heard("tracker", until="begin")])


def test_each_run_has_an_identity_of_its_own(tmp_path: Path) -> None:
    heard = [Heard(), Heard()]
    for number, each in enumerate(heard):
        quick(tmp_path / str(number), callbacks=[each])
    assert heard[0].begun[0].identity != heard[1].begun[0].identity


def test_a_damaged_list_is_begun_anew(tmp_path: Path) -> None:
    quick(tmp_path, callbacks=[Heard("mine")])
    (tmp_path / "run" / TOLD).write_text("{")
    again = Heard("mine")
    quick(tmp_path, callbacks=[again])
    assert "trial 0" in again.words
    assert json.loads((tmp_path / "run" / TOLD).read_text())["told"]["mine"][-1] == "end"


def test_no_list_is_kept_where_nobody_listens(tmp_path: Path) -> None:
    quick(tmp_path)
    assert not (tmp_path / "run" / TOLD).exists()


def test_given_bits_are_told_as_well(tmp_path: Path) -> None:
    config = tiny_study(retrain={"epochs": 2, "uniform": False})
    searched = run_study(config, tmp_path / "search", "", Silent())
    heard = Heard()
    retrain(config, searched.winner.allocation, tmp_path / "run", "", Silent(), announcer=Announcer([heard]))
    assert heard.words == ["begin", "winner 1", "winner 2", "end", "close"]


@pytest.mark.parametrize("callbacks", [5, [5], [Heard], "nobody", ["nobody"]])
def test_what_is_no_callback_is_refused_before_anything_runs(callbacks: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"callbacks: |unknown logger 'nobody'"):
        quick(tmp_path, callbacks=callbacks)
    assert not (tmp_path / "run").exists()


def test_a_figure_that_is_not_there(tmp_path: Path) -> None:
    result = quick(tmp_path)
    with pytest.raises(ConfigError, match="plot: there is no figure 'bars'"):
        result.plot("bars")
    assert mpsearch.Result is type(result)
