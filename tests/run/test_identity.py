"""A run is continued with the network, the weights and the data it was begun with, whatever their names; a stale result is not used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.run import run_study
from mpsearch.run.clock import Clock
from mpsearch.training.checkpoint import Checkpoint
from tests.run import tiny
from tests.run.tiny import tiny_study


def ran(directory: Path) -> Summary:
    return run_study(tiny_study(retrain={"epochs": 1}), directory, "command", Silent())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    ran(directory)
    return directory


@pytest.fixture(params=["finished", "interrupted"])
def begun(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    directory = shutil.copytree(whole, tmp_path / "run")
    if request.param == "interrupted":
        (directory / "summary.json").unlink()
    return directory


def another_activation() -> nn.Module:
    model = original()
    assert isinstance(model, nn.Sequential)
    model[2] = nn.GELU()
    return model


def another_layer() -> nn.Module:
    model = original()
    assert isinstance(model, nn.Sequential)
    return model.append(nn.Linear(10, 10))


def other_weights() -> nn.Module:
    model = original()
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    return model


original = tiny.digits_net


@pytest.mark.parametrize(
    ("factory", "changed"),
    [(another_activation, "network"), (another_layer, "network and weights"), (other_weights, "weights")],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_an_edited_factory_is_refused(factory: Any, changed: str, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in begun.iterdir()}
    monkeypatch.setattr(tiny, "digits_net", factory)
    with pytest.raises(RunDirectoryError, match=f": {changed} changed since the run was begun; undo that, or give another --run-dir"):
        ran(begun)
    kept = {file.name: file.read_bytes() for file in begun.iterdir()}
    assert {name: kept[name] for name in before if name not in ("seconds.json", "passes.json")} == {
        name: data for name, data in before.items() if name not in ("seconds.json", "passes.json")
    }


def test_a_checkpoint_of_another_allocation_trains_no_winner(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    for name in ("summary.json", "winner.json", "model.safetensors"):
        (directory / name).unlink()
    model = original()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Checkpoint(directory / "winner.checkpoint", made_from="the training of other bits").save(model, optimizer, [], 3, 1.0)
    ran(directory)
    assert (directory / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_record_of_another_allocation_is_not_read(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "summary.json").unlink()
    held = json.loads((directory / "winner.json").read_text())
    held["result"]["record"]["allocation"] = dict.fromkeys(held["result"]["record"]["allocation"], str(Choice(2)))
    (directory / "winner.json").write_text(json.dumps({**held, "made_from": "another training"}))
    assert ran(directory).winner.allocation == Summary.from_dict(json.loads((whole / "summary.json").read_text())).winner.allocation


def test_time_spent_is_all_time_spent(tmp_path: Path) -> None:
    (tmp_path / "seconds.json").write_text(json.dumps({"study": 100.0}))
    clock = Clock(tmp_path)
    assert clock.spent("study") == 100.0
    with clock("study"):
        torch.linalg.inv(torch.eye(200))
        assert clock.spent("study") > 100.0
        between = clock.spent("study")
    assert clock.seconds["study"] >= between
    assert Clock(tmp_path).spent("study") == clock.seconds["study"]


def test_a_directory_that_was_deleted_under_the_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "run"

    def deleting() -> nn.Module:
        shutil.rmtree(directory, ignore_errors=True)
        return original()

    with monkeypatch.context() as patched:
        patched.setattr(tiny, "digits_net", deleting)
        with pytest.raises(RunDirectoryError, match="was deleted while the run worked in it; repeat the command to start again"):
            ran(directory)
    shutil.rmtree(directory, ignore_errors=True)
    assert ran(directory).winner.feasible
