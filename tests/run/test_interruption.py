"""Ctrl-C and kill -9 in any phase; the same command goes on and ends where an uninterrupted run ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NET = """
from torch import nn

def make() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
"""
STUDY = """
name: tiny
data: {source: digits}
model: {factory: "tinynet:make"}
space: weights-only
budgets: [1500B]
signals: {names: [fisher, coverage, mix], images: 64, mixed_on: 24}
methods: {lsq: {grid: half}}
recipe: {batch_size: 32, lr: {low: 0.01, high: 0.05, log: true}, distill: 0.9, reestimate: 128, precision: float32}
float_recipe: {epochs: 4, batch_size: 32, lr: 0.1, precision: float32}
search:
  trials: 6
  rungs: [{name: ptq, epochs: 0}, {name: short, epochs: 2, keep: 0.5}]
retrain: {epochs: 4}
compile: "off"
device: cpu
"""


class Workplace:
    """A folder with a study, where commands run with a cache of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "tinynet.py").write_text(NET)
        (folder / "tiny.yaml").write_text(STUDY)

    def start(self, *extra: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mpsearch", "study", "tiny.yaml", "--run-dir", "run", *extra]
        here = str(Path(__file__).parents[2])
        environment = {**os.environ, "MPSEARCH_CACHE": str(self.folder / "cache"), "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self) -> dict[str, Any]:
        process = self.start()
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        summary: dict[str, Any] = json.loads((self.folder / "run" / "summary.json").read_text())
        return summary

    def interrupt(self, reached: Callable[[Path], bool], how: signal.Signals) -> tuple[int, str]:
        process = self.start()
        deadline = time.monotonic() + 120
        while not reached(self.folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def outcome(self) -> tuple[bytes, list[Any], Any]:
        """What must not depend on interruptions: file, trials and test scores. Times do, and numbers: a trial that was killed had one."""
        summary = json.loads((self.folder / "run" / "summary.json").read_text())
        trials = [{key: value for key, value in trial.items() if key not in ("seconds", "number")} for trial in summary["trials"]]
        return (self.folder / "run" / "model.safetensors").read_bytes(), trials, summary["test"]


def while_float_trains(folder: Path) -> bool:
    return any((folder / "cache" / "float").glob("*.checkpoint"))


def while_mix_measures(folder: Path) -> bool:
    file = folder / "run" / "prepared.json"
    return file.exists() and bool(json.loads(file.read_text())["result"]["signals"]["measured"])


def while_trials_run(folder: Path) -> bool:
    storage = folder / "run" / "study.db"
    if not storage.exists():
        return False
    import sqlite3

    with sqlite3.connect(f"file:{storage}?mode=ro", uri=True) as connection:
        try:
            return bool(connection.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()[0] >= 2)
        except sqlite3.OperationalError:
            return False


def while_winner_trains(folder: Path) -> bool:
    return (folder / "run" / "winner.checkpoint").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any], Any]:
    place = Workplace(tmp_path_factory.mktemp("undisturbed"))
    place.finish()
    return place.outcome()


@pytest.mark.parametrize(
    "reached",
    [
        pytest.param(while_float_trains, marks=pytest.mark.slow),
        pytest.param(while_mix_measures, marks=pytest.mark.slow),
        pytest.param(while_trials_run, marks=pytest.mark.slow),
        while_winner_trains,
    ],
    ids=lambda function: function.__name__,
)
def test_killed_run_ends_as_if_undisturbed(
    reached: Callable[[Path], bool], tmp_path: Path, undisturbed: tuple[bytes, list[Any], Any]
) -> None:
    place = Workplace(tmp_path)
    code, _ = place.interrupt(reached, signal.SIGKILL)
    assert code == -signal.SIGKILL
    place.finish()
    assert place.outcome() == undisturbed


@pytest.mark.slow
def test_control_c_says_how_to_go_on(tmp_path: Path, undisturbed: tuple[bytes, list[Any], Any]) -> None:
    place = Workplace(tmp_path)
    code, output = place.interrupt(while_trials_run, signal.SIGINT)
    assert code == 130
    assert "the same command goes on where it stopped" in output
    assert "Traceback" not in output
    place.finish()
    assert place.outcome() == undisturbed
