"""The page in a real browser: marks are clicked and walked over by keys, bits and commands are shown, two points stand side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.summary import Summary
from mpsearch.report.info.explorer import Command, Expected, RunDetails, ShownRun
from mpsearch.report.page import write_page
from mpsearch.report.runs_page import write_runs_page
from mpsearch.report.wording import MINUS
from tests.report.browser import BROWSER, WHY_NOT, Browser, browser
from tests.report.summaries import hostile_summary, make_summary

pytestmark = pytest.mark.skipif(BROWSER is None, reason=WHY_NOT)

SELECTED = ".card.is-selected"
PINNED = ".card.is-pinned"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def details(summary: Summary) -> RunDetails:
    """As of a run directory."""
    allocations = [record.allocation for record in summary.trials if record.scored]
    return RunDetails(
        expected=dict.fromkeys(allocations, Expected(metric=0.875, low=0.861, high=0.889, rung="short")),
        commands={
            record.allocation: (Command(text=f"mpsearch pick runs/a --trial {record.number} --out bits.yaml", purpose="write these bits"),)
            for record in summary.trials
        },
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    summary = make_summary(acts=True)
    return write_page(summary, tmp_path_factory.mktemp("page") / "front.html", details(summary))


def mark(name: str) -> str:
    return f'#explorer .plot .mark[data-id="0:{name}"]'


def bits(tab: Browser, column: str = "is-selected") -> list[str]:
    """The bits that the bars of a column stand for, layer by layer."""
    found: list[str] = tab.script(f"[...document.querySelectorAll('.bits td.{column} .weight .value')].map((node) => node.innerText)")
    return found


def test_a_click_shows_bits_figures_costs_and_the_command(tab: Browser, page: Path) -> None:
    summary = make_summary(acts=True)
    tab.open(page)
    assert "winner" in tab.text(f"{SELECTED} h3")
    tab.click(mark("trial 4"))
    trial = summary.trials[4]
    assert "trial 4" in tab.text(f"{SELECTED} h3")
    assert bits(tab) == [str(choice.weight) for choice in trial.allocation.values()]
    shown = tab.text(SELECTED)
    assert f"{100 * trial.score.metric:.2f} %" in shown
    assert f"{trial.costs['size']:,.0f} B" in shown
    assert "87.50 %" in shown
    assert "86.10 % to 88.90 % with 90 %" in shown
    assert "measured, nothing trained" in shown
    assert "surrogate" in shown
    assert tab.text(f"{SELECTED} code") == "mpsearch pick runs/a --trial 4 --out bits.yaml"
    widths = tab.script("[...document.querySelectorAll('.bits .weight .fill')].map((node) => node.style.width)")
    assert widths == [f"{12.5 * choice.weight.bits:g}%" for choice in trial.allocation.values()]
    assert tab.troubles() == []


def test_the_command_is_copied(tab: Browser, page: Path) -> None:
    tab.open(page)
    tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.click(mark("trial 4"))
    tab.click(f"{SELECTED} .copy")
    assert tab.script("new Promise((done) => setTimeout(done, 50))") is None
    assert tab.text(f"{SELECTED} .copy") == "Copied"
    tab.script("document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
    tab.click("#paste")
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="v", commands=["paste"])
    assert tab.script("document.getElementById('paste').value") == "mpsearch pick runs/a --trial 4 --out bits.yaml"


def test_two_points_side_by_side_mark_the_layers_that_differ(tab: Browser, page: Path) -> None:
    trials = make_summary(acts=True).trials
    tab.open(page)
    tab.click(mark("trial 4"))
    tab.click(f"{SELECTED} .pin")
    tab.click(mark("trial 9"))
    assert "trial 4" in tab.text(f"{PINNED} h3")
    assert "trial 9" in tab.text(f"{SELECTED} h3")
    assert bits(tab, "is-pinned") == [str(choice.weight) for choice in trials[4].allocation.values()]
    assert bits(tab) == [str(choice.weight) for choice in trials[9].allocation.values()]
    differ = [name for name in trials[4].allocation if trials[4].allocation[name] != trials[9].allocation[name]]
    named = tab.script("[...document.querySelectorAll('.bits tr.differs th')].map((node) => node.firstChild.data)")
    assert named == differ
    tab.click(".bits input[type=checkbox]")
    assert tab.script("document.querySelectorAll('.bits tbody tr').length") == len(differ)
    share = 100 * (trials[9].costs["size"] / trials[4].costs["size"] - 1)
    assert f"{share:+.1f} %".replace("-", MINUS) in tab.text(SELECTED)
    tab.click(f"{PINNED} .pin")
    assert tab.script("document.querySelectorAll('.card').length") == 1


def test_keys_walk_over_all_marks_and_along_the_front(tab: Browser, page: Path) -> None:
    tab.open(page)
    front = tab.script("JSON.parse(document.getElementById('data').textContent).explorer.costs[0].fronts[0]")
    tab.click(f'#explorer .plot .mark[data-id="{front[1]}"]')
    tab.script(f"document.querySelector('#explorer .plot .mark[data-id=\"{front[1]}\"]').focus()")
    tab.press("ArrowUp")
    assert front[2].removeprefix("0:") in tab.text(f"{SELECTED} h3")
    tab.press("ArrowDown", "ArrowDown")
    assert front[0].removeprefix("0:") in tab.text(f"{SELECTED} h3")
    tab.press("ArrowDown")  # the end
    assert front[0].removeprefix("0:") in tab.text(f"{SELECTED} h3")
    seen = set()
    tab.press("Home")
    for _ in range(30):
        seen.add(tab.script("document.activeElement.dataset.id"))
        tab.press("ArrowRight")
    assert seen == set(tab.script("[...document.querySelectorAll('#explorer .plot .mark')].map((node) => node.dataset.id)"))
    tab.press("p", "Home", "Enter")
    assert tab.script("document.querySelectorAll('.card').length") == 2
    tab.press("Escape")
    assert tab.script("document.querySelectorAll('.card').length") == 1
    assert tab.script("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert tab.script("document.activeElement.getAttribute('aria-label')").startswith(tab.text(f"{SELECTED} h3"))
    assert tab.text("[role=status]").startswith(tab.text(f"{SELECTED} h3"))
    assert tab.script("document.querySelectorAll('#explorer .plot .mark[tabindex=\"0\"]').length") == 1


def test_another_cost_and_all_trials(tab: Browser, page: Path) -> None:
    tab.open(page)
    close = tab.script("document.querySelectorAll('#explorer .plot .mark').length")
    tab.click(".segments button:last-child")
    assert tab.script("document.querySelectorAll('#explorer .plot .mark').length") == 21 > close
    tab.script("(() => { const s = document.querySelector('#explorer-cost'); s.value = '1'; s.dispatchEvent(new Event('change')); })()")
    assert "mean weight bits" in tab.text("#explorer .plot")


def test_the_table_of_the_front_selects(tab: Browser, page: Path) -> None:
    tab.open(page)
    tab.click("#front details summary")
    tab.click("#front button[data-select='0:best uniform']")
    assert "best uniform" in tab.text(f"{SELECTED} h3")
    assert tab.script("document.querySelector('[data-select=\"0:best uniform\"]').getAttribute('aria-pressed')") == "true"


def test_the_theme_follows_the_system_and_its_button(tab: Browser, page: Path) -> None:
    grounds = []
    for dark in (False, True):
        tab.open(page, dark=dark)
        for _ in range(2):
            grounds.append(tab.script("getComputedStyle(document.body).backgroundColor"))
            tab.click("#theme")
    light, dark_one = grounds[:2]
    assert light != dark_one
    assert grounds == [light, dark_one, dark_one, light]


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_nothing_is_wider_than_the_window(tab: Browser, page: Path, width: int) -> None:
    tab.open(page, width=width)
    tab.click(f"{SELECTED} .pin")
    tab.click(mark("trial 4"))
    assert tab.script("document.documentElement.scrollWidth") <= width
    assert tab.troubles() == []


def test_a_new_width_draws_anew(tab: Browser, page: Path) -> None:
    tab.open(page, width=1280)
    wide = tab.script("document.querySelector('#explorer .plot').getAttribute('width')")
    tab.call("Emulation.setDeviceMetricsOverride", width=500, height=900, deviceScaleFactor=1, mobile=False)
    tab.script("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))")
    assert float(tab.script("document.querySelector('#explorer .plot').getAttribute('width')")) < float(wide) / 2
    assert tab.script("document.querySelectorAll('#explorer .ring.selected').length") == 1


@pytest.mark.parametrize(
    ("summary", "plots"),
    [
        (make_summary(), 6),
        (replace(make_summary(), trials=(), uniform=None, control=None), 3),
        (hostile_summary(), 6),
        (replace(make_summary(), trials=make_summary().trials[:2]), 6),
        (
            replace(make_summary(), trials=tuple(replace(make_summary().trials[k % 7], number=k) for k in range(300))),
            6,
        ),
    ],
    ids=["some", "no-trials", "hostile", "two", "300"],
)
def test_every_chart_is_drawn(tab: Browser, tmp_path: Path, summary: Summary, plots: int) -> None:
    tab.open(write_page(summary, tmp_path / "front.html", details(summary)))
    assert tab.script("document.querySelectorAll('svg.plot').length") == plots
    assert tab.script("[...document.querySelectorAll('svg.plot')].every((node) => node.querySelectorAll('.mark').length > 0)")
    assert "NaN" not in tab.script("[...document.querySelectorAll('svg.plot')].map((node) => node.outerHTML).join('')")
    assert tab.script("document.images.length") == 0
    assert tab.script("typeof window.stolen") == "undefined"
    assert tab.troubles() == []


def test_runs_in_one_picture(tab: Browser, tmp_path: Path) -> None:
    runs = [ShownRun(name=f"run {seed}", summary=make_summary(seed=seed)) for seed in (0, 1, 2)]
    tab.open(write_runs_page(runs, tmp_path / "runs.html"))
    colours = tab.script(
        "[...new Set([...document.querySelectorAll('#explorer .plot .mark')].map((node) => getComputedStyle(node).fill))].length"
    )
    assert colours == 3
    assert tab.script("document.querySelectorAll('#explorer .plot .series .line').length") == 3
    tab.click('#explorer .plot .mark[data-id="0:winner"]')
    tab.click(f"{SELECTED} .pin")
    tab.click("button[data-select='2:winner']")
    assert "run 2" in tab.text(SELECTED)
    assert bits(tab) == [str(choice.weight) for choice in runs[2].summary.winner.allocation.values()]
    assert bits(tab, "is-pinned") == [str(choice.weight) for choice in runs[0].summary.winner.allocation.values()]
    assert tab.troubles() == []
