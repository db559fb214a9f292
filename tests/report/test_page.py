from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.record import Record
from mpsearch.costs.budgets import parse_budget
from mpsearch.report.info.explorer import Command, RunDetails
from mpsearch.report.page import page_html, write_page
from tests.report.summaries import HOSTILE, hostile_summary, make_summary

VOID = {"meta", "img", "br", "input", "hr", "link"}


class Outline(HTMLParser):
    """Headings and elements, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.sources += [str(given[key]) for key in ("src", "href") if given.get(key)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append((self.open[-1], data))


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(make_summary(acts=True))


def test_structure(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert [title for level, title in outline.headings if level == "h1"] == ["cifar10_resnet20"]
    assert [title for level, title in outline.headings if level == "h2"] == [
        "Accuracy against cost: pick a point",
        "The winner, layer by layer",
        "What the signals predicted",
        "History of the study",
        "Retraining",
        "The run itself",
    ]
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.tags.count("figure") == 4


def test_self_contained(page: str) -> None:
    assert len(page.encode()) < 200_000
    assert all(source.startswith("#") for source in Outline(page).sources)
    assert "default-src 'none'" in page


def test_header_says_what_came_out(page: str) -> None:
    for words in (
        "89.01 %",
        "89.30 %",
        "+1.20 points",
        "79,848 B",
        "of 80KB",
        "13.7\u00d7",
        "2.20",
        "seed 0",
        "mpsearch study studies/cifar10",
    ):
        assert words in page


def told(page: str) -> dict[str, Any]:
    """What the script is told."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_an_axis_for_every_budgeted_cost() -> None:
    summary = make_summary()
    reachable = {**summary.reachable, "bits": (1.0, 8.0)}
    page = page_html(replace(summary, budgets=(parse_budget("80KB"), parse_budget("2.5bit")), reachable=reachable))
    assert [cost["name"] for cost in told(page)["explorer"]["costs"]] == ["size", "bits"]
    assert told(page)["explorer"]["runs"][0]["budgets"]["bits"] == {"limit": 2.5, "text": "2.5bit"}


def test_no_script_or_style_runs_but_those_of_the_page(page: str) -> None:
    """The policy names them by their digests: what an injection would add does not run."""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert "unsafe" not in policy
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert " style=" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_hostile_names_stay_text(page: str) -> None:
    hostile = page_html(hostile_summary())
    assert HOSTILE not in hostile
    assert "<script>window" not in hostile
    assert "<img" not in hostile
    assert told(hostile)["explorer"]["runs"][0]["layers"][0]["name"] == HOSTILE
    assert Outline(hostile).tags.count("script") == Outline(page).tags.count("script")


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"uniform": None}, ["no uniform allocation fits", "No uniform allocation was retrained"]),
        ({"trials": ()}, ["No trial was run", "so fisher cannot be compared with a measurement"]),
        ({"tables": ()}, ["No signal was measured"]),
        (
            {"winner": replace(make_summary().winner, curve=()), "uniform": None, "control": None, "trials": (), "test": {}},
            ["Nothing was retrained", "No trial was run"],
        ),
        ({"skipped": ()}, ["Nothing was skipped"]),
    ],
)
def test_missing_parts_say_why(changes: dict[str, object], reasons: list[str]) -> None:
    page = page_html(replace(make_summary(), **changes))  # type: ignore[arg-type]
    outline = Outline(page)
    assert len(outline.headings) == 7
    assert all(reason in page for reason in reasons)


def test_written_whole_and_in_place(tmp_path: Path) -> None:
    path = tmp_path / "run" / "front.html"
    assert write_page(make_summary(), path) == path
    first = path.read_text(encoding="utf-8")
    write_page(replace(make_summary(), name="another"), path)
    assert "another" in path.read_text(encoding="utf-8")
    assert first.endswith("</html>\n")
    assert [file.name for file in path.parent.iterdir()] == ["front.html"]


def test_a_page_that_cannot_be_moved_into_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "front.html").mkdir()
    with pytest.raises(OSError, match=r"front\.html"):
        write_page(make_summary(), tmp_path / "front.html")
    assert [file.name for file in tmp_path.iterdir()] == ["front.html"]


def test_a_tampered_summary_links_to_no_script() -> None:
    for card in ("javascript:alert(1)", "//evil.example/x"):
        page = page_html(replace(make_summary(), card=card))
        assert '<a href="card.md">' in page
        assert card not in page


def test_the_name_of_a_cost_opens_no_tag() -> None:
    """Even of a cost that no summary of a file may have."""
    cost = '"><img src=x onerror=alert(5)>'
    summary = make_summary()

    def with_cost(record: Record) -> Record:
        return replace(record, costs={**record.costs, cost: 1.0})

    assert summary.uniform is not None
    page = page_html(
        replace(
            summary,
            budgets=(replace(summary.budgets[0], cost=cost),),
            reachable={cost: (1.0, 2.0)},
            trials=tuple(map(with_cost, summary.trials)),
            winner=with_cost(summary.winner),
            uniform=with_cost(summary.uniform),
        )
    )
    assert "<img src=x" not in page
    assert told(page)["explorer"]["costs"][1]["name"] == cost


def test_thousands_of_trials_are_thinned_and_the_page_says_so() -> None:
    summary = make_summary()
    trials = tuple(replace(summary.trials[0], number=number) for number in range(10_000))
    commands = {summary.trials[0].allocation: (Command(text="mpsearch retrain " + 300 * "x", purpose="train and export it"),)}
    page = page_html(replace(summary, trials=trials), RunDetails(commands=commands))
    assert "10000 trials, 1 on the front. 1,000 of these trials are drawn." in page
    assert len(page.encode()) < 3e6
