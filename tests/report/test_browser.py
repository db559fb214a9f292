"""The page in a real browser: every plot is painted, nothing goes wrong, nothing hostile runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.summary import Summary
from mpsearch.report.page import write_page
from tests.report.summaries import hostile_summary, make_summary

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--virtual-time-budget=20000",
    "--window-size=1280,2400",
    "--enable-logging=stderr",
]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH; install one, for example: apt-get install chromium")


def _browse(page: Path, scratch: Path, *flags: str) -> tuple[str, str]:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={scratch / 'profile'}", *flags, page.as_uri()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        return process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


def _console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(
    ("summary", "plots"),
    [
        (make_summary(), 5),
        (make_summary(acts=True), 5),
        (replace(make_summary(), trials=(), uniform=None, control=None), 3),
        (hostile_summary(), 5),
    ],
    ids=["weights", "activations", "no-trials", "hostile"],
)
def test_every_plot_is_painted(tmp_path: Path, summary: Summary, plots: int) -> None:
    dom, log = _browse(write_page(summary, tmp_path / "front.html"), tmp_path, "--dump-dom")
    assert _console(log) == []
    assert len(re.findall(r'class="plot-container plotly"', dom)) == plots
    painted = re.findall(r'<svg[^>]*class="main-svg"[^>]*>', dom)
    assert len(painted) >= plots
    # Names of layers stand on the axis as text; the start tag of no foreign element came out of them.
    assert re.search(r"<img\b", re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)) is None


def test_marks_of_all_trials_are_in_the_picture(tmp_path: Path) -> None:
    summary = make_summary()
    dom, _ = _browse(write_page(summary, tmp_path / "front.html"), tmp_path, "--dump-dom")
    front = dom[dom.index('id="plot-front-0"') : dom.index('id="bits"')]
    marks = len(re.findall(r'<path class="point"', front))
    # Five to 19 trials lie in the close-up, beside the winner and the uniform allocation; bars and lines are no points.
    assert 5 <= marks <= 21


def test_screenshot_is_not_blank(tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    _browse(write_page(make_summary(), tmp_path / "front.html"), tmp_path, f"--screenshot={picture}", "--hide-scrollbars")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 60_000
