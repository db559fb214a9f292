"""What optuna-dashboard shows of a study: its name, its objectives, what a trial has, and the result as note and plots."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.report.wording import format_text
from mpsearch.run import run_study
from mpsearch.run.dashboard import show_result
from mpsearch.study.published import find_study
from mpsearch.study.storage import open_storage, open_study
from tests.report.browser import BROWSER, WHY_NOT, browser
from tests.run.tiny import tiny_study

dashboard = pytest.importorskip("optuna_dashboard", reason="the extra dashboard is not installed")
NAME = "tiny-4.5bit"
PLOT = "dashboard:plot_data:"
DRAWN = "document.getElementById(`user-defined-plot:${name}`).querySelector('.main-svg') !== null"


class Ran:
    """A study that has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/study.db"
        study = tiny_study(search={"trials": 8, "rungs": [{"name": "ptq", "epochs": 0}]})
        self.summary: Summary = run_study(study, folder, "command", Silent())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("ran") / "run")


def attributes(url: str) -> dict[str, str]:
    """What the dashboard reads of the only study."""
    (study,) = open_storage(url).get_all_studies()
    return study.system_attrs


def plots(url: str) -> dict[str, str]:
    """Plot → its JSON, as the dashboard puts it together."""
    found: dict[str, str] = {}
    for key, value in sorted(attributes(url).items(), key=lambda pair: int(pair[0].rpartition(":")[2]) if PLOT in pair[0] else 0):
        if key.startswith(PLOT):
            name = key.removeprefix(PLOT).rpartition(":")[0]
            found[name] = found.get(name, "") + value
    return found


def test_a_study_says_what_it_is(ran: Ran) -> None:
    study = find_study(ran.url, None)
    assert study.study_name == NAME
    assert study.metric_names == ["validation error", "largest share of a budget"]
    for record, trial in zip(ran.summary.trials, study.trials, strict=True):
        assert trial.user_attrs["costs"] == pytest.approx(dict(record.costs))
        layers = ran.summary.layers
        means = [record.allocation.mean_weight_bits(layers), record.allocation.mean_act_bits(layers)]
        assert [*trial.params.values()] == pytest.approx(means)
        assert trial.user_attrs["bits"].split()[0].startswith("w")


def test_the_front_the_bits_and_their_importance_are_plots(ran: Ran) -> None:
    found = plots(ran.url)
    assert sorted(found) == ["bits", "front", "importance"]
    figures = {name: json.loads(text) for name, text in found.items()}
    bars = next(trace for trace in figures["bits"]["data"] if trace["type"] == "bar")
    assert [float(text) for text in bars["text"]] == [choice.weight.bits for choice in ran.summary.winner.allocation.values()]


def test_the_note_is_the_result(ran: Ran) -> None:
    note = dashboard.get_note(find_study(ran.url, None))
    assert f"| **{ran.summary.artifact_bytes:,}** |" in note
    for layer, choice in ran.summary.winner.allocation.items():
        assert f"| {layer} | {format_text(choice.weight)} | {format_text(choice.activation)} |" in note


def test_what_is_shown_again_replaces_what_was(ran: Ran) -> None:
    before = attributes(ran.url)
    assert show_result(ran.url, NAME, ran.summary, Silent())
    after = attributes(ran.url)
    assert {key for key, value in after.items() if value != before.get(key)} == {"dashboard:note_ver"}


def test_a_storage_that_fails_at_the_end_is_a_line(ran: Ran) -> None:
    class Heard(Silent):
        lines: list[str] = []  # noqa: RUF012

        def say(self, text: str) -> None:
            self.lines.append(text)

    assert not show_result("sqlite:////no/such/folder/x.db", NAME, ran.summary, Heard())
    assert len(Heard.lines) == 1
    assert Heard.lines[0].startswith("optuna-dashboard will not show the result (storage: ")


def test_without_the_package_nothing_is_saved(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    url = f"sqlite:///{tmp_path}/study.db"
    assert not show_result(url, NAME, ran.summary, Silent())
    open_study(url, NAME)
    assert not plots(url)


def test_a_directory_whose_study_has_the_old_name_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run/study.db"
    (tmp_path / "run").mkdir()
    open_study(url, "mpsearch")
    (tmp_path / "run" / "study.yaml").write_text(tiny_study().to_yaml(), encoding="utf-8")
    run_study(tiny_study(), tmp_path / "run", "command", Silent())
    assert len(find_study(url, None).trials) == 2


def listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=WHY_NOT)
def test_a_browser_shows_them(ran: Ran, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "optuna_dashboard._cli", ran.url, "--port", str(port), "--server", "wsgiref"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        waited = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < waited
            time.sleep(0.1)
        with browser(tmp_path) as tab:

            def until(page: str, *texts: str) -> None:
                tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/dashboard{page}")
                ends = time.monotonic() + 60
                while not all(text in str(tab.script("document.body?.innerText || ''")) for text in texts):
                    assert time.monotonic() < ends, tab.script("document.body.innerText")
                    time.sleep(0.2)

            until("", NAME)
            until("/studies/1", "validation error", "largest share of a budget", "Hyperparameter Importance", "mean weight bits")
            assert tab.script(f"['front', 'bits', 'importance'].every((name) => {DRAWN})")
            assert "Failed to load" not in str(tab.script("document.body.innerText"))
            until("/studies/1/note", "delivered", f"{ran.summary.artifact_bytes:,}")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
