"""A run that dies between two steps of `finish` repeats none of those that are done, and ends in the same file and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from mpsearch.config import StudyConfig
from mpsearch.config.study import validate_study
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.data.base import Splits, as_split
from mpsearch.run import Ledger, claimed, finished, run
from mpsearch.run.setup import assemble
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.tasks.task import Task
from mpsearch.trials.evaluator import Evaluator


def config() -> StudyConfig:
    return validate_study(
        {
            "name": "s",
            "data": {"source": "memory"},
            "model": {"factory": "m:f"},
            "space": {"name": "s", "weights": [2, 3, 4, 8], "activations": [4, 8]},
            "budgets": ["3.2bit"],
            "methods": {"lsq": {}},
            "signals": {"names": ["fisher"], "images": 32},
            "recipe": {"batch_size": 32, "lr": 0.01, "reestimate": 32, "precision": "float32"},
            "search": {"trials": 2, "rungs": [{"name": "ptq", "epochs": 0}]},
            "retrain": {"epochs": 2, "uniform": True, "control": True},
            "device": "cpu",
        },
        label="",
    )


def ran(directory: Path) -> Summary:
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    y = (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()
    train, validation, test = (as_split(TensorDataset(x[a:b], y[a:b])) for a, b in ((0, 96), (96, 144), (144, 200)))
    splits = Splits(
        name="d", train=train, validation=validation, test=test, classes=("a", "b"), task=Task.classification(), fingerprint="d"
    )
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    asked = config()
    with claimed(directory, asked, "command"):
        ledger = Ledger(directory)
        return finished(ledger) or run(asked, lambda: assemble(asked, splits, model, Silent()), ledger, "command", Silent())


def outcome(directory: Path) -> list[Any]:
    plain = json.loads((directory / "summary.json").read_text())
    records = [{key: value for key, value in plain[name].items() if key != "seconds"} for name in ("winner", "uniform", "control")]
    return [(directory / "model.safetensors").read_bytes(), *records, plain["test"], plain["formats"], plain["artifact_bytes"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    ran(directory)
    return directory


@pytest.mark.parametrize(
    ("step", "trained"),
    [
        ("mpsearch.run.finish.uniform_reference", ["train", "control"]),
        ("mpsearch.run.finish.float_control", ["control"]),
        ("mpsearch.run.finish._test_scores", []),
        ("mpsearch.run.finish.summarise", []),
        ("mpsearch.run.finish.build_card", []),
        ("mpsearch.report.page.write_page", []),
    ],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else None,
)
def test_nothing_that_is_done_is_done_again(
    step: str, trained: list[str], tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    directory = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(step, killed)
        with pytest.raises(KeyboardInterrupt):
            ran(directory)
    for checkpoint in directory.glob("*.checkpoint"):
        checkpoint.unlink()  # results are read back, not trained again from where they ended
    calls: list[str] = []
    for name in ("train", "control"):
        genuine = getattr(Evaluator, name)

        def counted(self: Evaluator, *arguments: Any, name: str = name, genuine: Any = genuine, **named: Any) -> Any:
            calls.append(name)
            return genuine(self, *arguments, **named)

        monkeypatch.setattr(Evaluator, name, counted)
    ran(directory)
    assert calls == trained
    assert outcome(directory) == outcome(undisturbed)


def test_passes_of_steps_read_back_are_not_counted_twice(tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mpsearch.run.finish.summarise", killed)
        with pytest.raises(KeyboardInterrupt):
            ran(tmp_path / "run")
    ran(tmp_path / "run")
    counted, whole = (json.loads((folder / "passes.json").read_text()) for folder in (tmp_path / "run", undisturbed))
    for phase in ("study", "retraining", "references", "test"):
        assert counted[phase] == whole[phase]
    assert whole["test"]["scored"] == 4 * 56  # float, winner, uniform, control


def test_the_uniform_artifact_is_the_network_that_was_scored(undisturbed: Path) -> None:
    uniform = json.loads((undisturbed / "uniform.json").read_text())["result"]["record"]
    file = undisturbed / "uniform.safetensors"
    assert file.stat().st_size == uniform["costs"]["size"]
    assert read_artifact(file).allocation.to_dict() == uniform["allocation"]


def test_an_unfinished_run_has_no_checkpoint_left_once_it_is_finished(undisturbed: Path) -> None:
    (undisturbed / "winner.checkpoint").write_bytes(b"x")
    (undisturbed / ".card.md.0a1b2c3d.part").write_bytes(b"x")
    ran(undisturbed)
    assert not list(undisturbed.glob("*.checkpoint"))
    assert not list(undisturbed.glob(".*.part"))
