"""How a notebook shows a run: whole, without a script, whatever the names in it are."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from operator import methodcaller
from pathlib import Path

import plotly.graph_objects as go
import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.core.summary import Summary
from mpsearch.report.notebook import FIGURES, summary_figure, summary_html
from tests.report.summaries import HOSTILE, hostile_summary, make_summary


class Tags(HTMLParser):
    """Every tag that is opened and closed, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_figures_the_bits_and_the_picture_are_there() -> None:
    summary = make_summary()
    tags = Tags(summary_html(summary, Path("runs/mine")))
    assert sorted(tag for tag in tags.opened if tag != "img") == sorted(tags.closed)
    for said in (
        summary.name,
        f"{summary.artifact_bytes:,} B",
        "best uniform",
        f"budget {summary.budgets[0].text}",
        "runs/mine/front.html",
    ):
        assert said in tags.text
    for layer in summary.layers:
        assert layer.name in tags.text
    (picture,) = re.findall(r"base64,([A-Za-z0-9+/=]+)", summary_html(summary))
    assert base64.b64decode(picture).startswith(b"<?xml")


def test_a_summary_shows_itself() -> None:
    summary = make_summary()
    assert methodcaller("_repr_html_")(summary) == summary_html(summary)


@pytest.mark.parametrize(
    "summary",
    [replace(make_summary(), trials=(), uniform=None, control=None, tables=()), make_summary(acts=True), replace(make_summary(), test={})],
    ids=["nothing but a winner", "activations", "no test"],
)
def test_any_run_can_be_shown(summary: Summary) -> None:
    assert len(Tags(summary_html(summary)).text) > 100


def test_names_of_a_stranger_are_text() -> None:
    shown = summary_html(hostile_summary())
    assert HOSTILE not in shown
    assert set(Tags(shown).opened).isdisjoint({"script", "iframe", "object"})
    assert Tags(shown).opened.count("img") == 1


def test_many_layers_are_folded_away() -> None:
    summary = make_summary()
    assert "<details open>" in summary_html(summary)
    layers = tuple(replace(summary.layers[0], name=f"layer{number}") for number in range(40))
    allocation = summary.winner.allocation
    choice = next(iter(allocation.values()))
    winner = replace(summary.winner, allocation=type(allocation)({layer.name: choice for layer in layers}))
    many = replace(summary, layers=layers, winner=winner, formats=(summary.formats[0],) * 40, layer_bytes=(), uniform=None, trials=())
    assert "<details>" in summary_html(many)


@pytest.mark.parametrize("kind", FIGURES)
def test_each_figure_of_the_report_can_be_had(kind: str) -> None:
    figure = summary_figure(make_summary(), kind)
    assert isinstance(figure, go.Figure)
    assert figure.data
    assert figure.layout.title.text


def test_a_front_against_another_cost() -> None:
    summary = make_summary()
    cost = next(name for name in summary.winner.costs if name != "size")
    assert summary_figure(summary, "front", cost=cost).layout.xaxis.title.text


@pytest.mark.parametrize(
    ("kind", "cost", "message"),
    [
        ("fornt", "size", "there is no figure 'fornt'; give one of front, bits, history, signals, curves"),
        ("front", "joules", "this run has no cost 'joules'; give one of size"),
    ],
)
def test_what_cannot_be_drawn(kind: str, cost: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^plot: {message}"):
        summary_figure(make_summary(), kind, cost=cost)


@pytest.mark.parametrize("kind", ["history", "signals", "curves"])
def test_a_run_with_nothing_to_draw_says_so(kind: str) -> None:
    summary = make_summary()
    bare = replace(summary, trials=(), tables=(), uniform=None, control=None, searched=None, winner=replace(summary.winner, curve=()))
    with pytest.raises(ConfigError, match=r"^plot: \S"):
        summary_figure(bare, kind)
