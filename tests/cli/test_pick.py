"""`mpsearch pick` on a run of seconds: what it says, the bits it writes, and that the commands it names do what they say."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from mpsearch.cli import main
from mpsearch.config import load_bits
from mpsearch.core.progress import Silent
from mpsearch.run import run_study
from tests.run.tiny import tiny_study

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ended")
    config = tiny_study(
        space={"name": "some", "weights": [2, 3, 4, 6, 8]},
        search={"trials": 6, "rungs": [{"name": "ptq", "epochs": 0}]},
        float_recipe={"epochs": 3, "batch_size": 64, "lr": 0.1, "precision": "float32"},
    )
    run_study(config, folder / "run", "command", Silent())
    return folder


@pytest.fixture
def place(ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ended / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    code = main(["pick", "run", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def commands(told: str) -> list[list[str]]:
    lines = told.partition("\nNext:\n")[2].splitlines()
    return [shlex.split(line.strip().rpartition("   ")[0])[1:] for line in lines]


def test_the_budget_of_the_run_gives_the_winner_and_its_export(place: Path, capsys: Captured) -> None:
    code, told, _ = asked(capsys, "--budget", "4.5bit")
    assert code == 0
    assert "winner: validation accuracy" in told
    assert "measured" in told
    (export,) = commands(told)
    assert main(export) == 0
    assert (place / "model.safetensors").read_bytes() == (place / "run" / "model.safetensors").read_bytes()


def test_a_solved_point_is_retrained_by_the_commands_that_are_named(place: Path, capsys: Captured) -> None:
    code, told, _ = asked(capsys, "--budget", "2.4bit")
    assert code == 0
    assert "solved: validation accuracy" in told
    assert "expected" in told
    write, retrain = commands(told)
    assert main(write) == 0
    bits = load_bits(place / "bits.yaml")
    capsys.readouterr()
    assert main([*retrain, "--quiet"]) == 0
    (directory,) = place.glob("run-*")
    winner = json.loads((directory / "summary.json").read_text())["winner"]
    assert winner["allocation"] == bits.to_dict()
    assert winner["costs"]["bits"] <= 2.4
    size = (directory / "model.safetensors").stat().st_size
    assert f"in {size:,} B" in told  # exact before anything is trained


def test_a_trial_and_the_bits_file(place: Path, capsys: Captured) -> None:
    code, told, _ = asked(capsys, "--trial", "2", "--out", "mine.yaml")
    assert code == 0
    assert "bits: mine.yaml" in told
    trial = json.loads((place / "run" / "summary.json").read_text())["trials"][2]
    assert load_bits(Path("mine.yaml")).to_dict() == trial["allocation"]


@pytest.mark.parametrize(
    "how", [["--keep", "80%"], ["--keep", "0.8"], ["--max-drop", "90"], ["--knee"], ["--knee", "--cost", "bits"]], ids=" ".join
)
def test_other_questions(how: list[str], place: Path, capsys: Captured) -> None:
    code, told, _ = asked(capsys, *how)
    assert code == 0
    assert "mean weight bits" in told
    assert "\nNext:\n" in told


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--budget", "1bit"], "below the smallest bits"),
        (["--budget", "3ms"], "did not count the cost 'latency'; it counted "),
        (["--trial", "77"], "has no finished trial 77; its trials are 0 to 5"),
        (["--knee", "--cost", "colour"], "did not count the cost 'colour'"),
    ],
)
def test_wrong_questions_are_one_line(how: list[str], said: str, place: Path, capsys: Captured) -> None:
    code, told, error = asked(capsys, *how)
    assert (code, told) == (2, "")
    assert error.startswith("mpsearch: error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_space_of_another_run_is_refused(place: Path, capsys: Captured) -> None:
    summary = json.loads((place / "run" / "summary.json").read_text())
    summary.pop("digest")
    summary["layers"][0]["kind"] = "Conv2d"
    (place / "run" / "summary.json").write_text(json.dumps(summary))
    code, _, error = asked(capsys, "--knee")
    assert code == 2
    assert "holds the summary of one run and the space of another" in error
