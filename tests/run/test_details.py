"""What a report says beyond the summary: of a run of seconds, whole and without parts of its directory."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from mpsearch.cli import main
from mpsearch.config import load_bits
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.run import run_study
from mpsearch.run.details import run_details
from tests.run.tiny import tiny_study


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("ended") / "run"
    study = tiny_study(
        budgets=["2.5bit..4.5bit"],
        search={"trials": 5, "rungs": [{"name": "ptq", "epochs": 0}]},
        retrain={"epochs": 0, "points": 2},
        float_recipe={"epochs": 2, "batch_size": 64, "lr": 0.1, "precision": "float32"},
    )
    return folder, run_study(study, folder, "command", Silent())


def test_every_network_has_a_command_and_an_expectation(ended: tuple[Path, Summary]) -> None:
    folder, summary = ended
    details = run_details(folder, summary)
    records = [*summary.trials, summary.winner, *(point.record for point in summary.front)]
    assert details.missing == ""
    for record in records:
        expected = details.expected[record.allocation]
        assert expected.rung == "ptq"
        assert 0 <= expected.low <= expected.metric <= expected.high <= 1
        assert details.commands[record.allocation]
    (export,) = details.commands[summary.winner.allocation]
    assert export.text == f"mpsearch export {folder} --out model.safetensors"
    for point in summary.front:
        (evaluate,) = details.commands[point.record.allocation]
        assert evaluate.text == f"mpsearch evaluate {folder / 'front' / point.name / 'model.safetensors'}"


def test_the_command_of_a_trial_writes_its_bits(ended: tuple[Path, Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, summary = ended
    monkeypatch.chdir(tmp_path)
    taken = {summary.winner.allocation, *(point.record.allocation for point in summary.front)}
    trial = next(record for record in summary.trials if record.allocation not in taken)
    write, retrain = run_details(folder, summary).commands[trial.allocation]
    assert main(shlex.split(write.text)[1:]) == 0
    assert load_bits(tmp_path / "bits.yaml") == trial.allocation
    assert shlex.split(retrain.text)[1:4] == ["retrain", str(folder / "study.yaml"), "--bits"]


def test_the_page_of_the_run_holds_them(ended: tuple[Path, Summary]) -> None:
    page = (ended[0] / "front.html").read_text()
    assert "mpsearch export" in page
    assert "prediction after all trials" in page


def test_what_is_missing_is_said(ended: tuple[Path, Summary], tmp_path: Path) -> None:
    folder, summary = ended
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "space.json").unlink()
    details = run_details(tmp_path / "run", summary)
    assert "holds no space.json" in details.missing
    assert not details.commands
    assert not details.expected
