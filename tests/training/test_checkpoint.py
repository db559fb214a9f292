from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.training.checkpoint import Checkpoint, load_state, save_state


def trained(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and its optimizer after three steps, momentum included."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer, 3)
    return model, optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.rand(8, 3)).square().sum().backward()
        optimizer.step()


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    Checkpoint(tmp_path / "x").save(model, optimizer, [{"epoch": 1.0, "loss": 0.5}], 7, 1.25)
    step(model, optimizer, 2)
    again, its_optimizer = trained(1)
    curve: list[dict[str, float]] = [{"epoch": 9.0}]
    assert Checkpoint(tmp_path / "x").restore(again, its_optimizer, curve) == (7, 1.25)
    assert curve == [{"epoch": 1.0, "loss": 0.5}]
    step(again, its_optimizer, 2)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_without_a_file_nothing_is_changed(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    curve = [{"epoch": 1.0}]
    assert Checkpoint(tmp_path / "x").restore(model, optimizer, curve) == (0, 0.0)
    assert curve == [{"epoch": 1.0}]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_save_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = trained(0)
    checkpoint = Checkpoint(tmp_path / "x")
    checkpoint.save(model, optimizer, [], 1, 0.0)
    whole = (tmp_path / "x").read_bytes()

    def full_disk(state: object, file: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(model, optimizer, [], 2, 0.0)
    assert (tmp_path / "x").read_bytes() == whole


def test_delete(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    checkpoint = Checkpoint(tmp_path / "x")
    checkpoint.save(model, optimizer, [], 1, 0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    checkpoint.delete()
    checkpoint.delete()
    assert not any(tmp_path.iterdir())


def test_the_state_of_another_training_is_not_restored(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    Checkpoint(tmp_path / "x", made_from="winner w4").save(model, optimizer, [], 7, 1.25)
    other, its_optimizer = trained(1)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    said: list[str] = []
    assert Checkpoint(tmp_path / "x", made_from="winner w2", say=said.append).restore(other, its_optimizer, []) == (0, 0.0)
    assert said == ["x is of another training; this training starts from its beginning"]
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("damage", ["empty", "half", "junk"])
def test_a_damaged_file_is_no_checkpoint(damage: str, tmp_path: Path) -> None:
    model, optimizer = trained(0)
    Checkpoint(tmp_path / "x").save(model, optimizer, [], 7, 1.25)
    whole = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "junk": b"\x00junk" * 100}[damage])
    said: list[str] = []
    assert Checkpoint(tmp_path / "x", say=said.append).restore(model, optimizer, []) == (0, 0.0)
    assert said == ["x was damaged; this training starts from its beginning"]


def forged(kind: str, state: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(state["optimizer"]["state"]))
    changes: dict[str, Any] = {
        "other network": {"model": {"a": torch.zeros(3)}},
        "network of another shape": {"model": {**state["model"], "0.weight": torch.zeros(1, 1)}},
        "half a network": {"model": {name: value for name, value in state["model"].items() if name != "0.bias"}},
        "other optimizer": {"optimizer": {"state": {}, "param_groups": []}},
        "optimizer of another shape": {
            "optimizer": {**state["optimizer"], "state": {**state["optimizer"]["state"], first: {"momentum_buffer": torch.zeros(99)}}}
        },
        "no curve": {"curve": 5},
        "curve of words": {"curve": [{"epoch": "one"}]},
        "no position": {"step": "x"},
        "no random state": {"random": torch.zeros(3)},
    }
    return {**state, **changes[kind]}


@pytest.mark.parametrize(
    "kind",
    ["other network", "network of another shape", "half a network", "other optimizer", "optimizer of another shape", "no curve",
     "curve of words", "no position", "no random state"],
)  # fmt: skip
def test_a_forged_checkpoint_changes_nothing(kind: str, tmp_path: Path) -> None:
    said: list[str] = []
    model, optimizer = trained(0)
    checkpoint = Checkpoint(tmp_path / "x", made_from="this", say=said.append)
    checkpoint.save(model, optimizer, [], 7, 1.25)
    save_state(tmp_path / "x", forged(kind, torch.load(tmp_path / "x", weights_only=True)))
    again, its_optimizer = trained(1)
    before, curve = copy.deepcopy(again.state_dict()), [{"epoch": 1.0}]
    assert checkpoint.restore(again, its_optimizer, curve) == (0, 0.0)
    assert said == ["x was damaged; this training starts from its beginning"]
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())
    assert curve == []
    step(again, its_optimizer, 1)


def test_a_state_of_another_network_is_not_loaded(tmp_path: Path) -> None:
    model, _ = trained(0)
    save_state(tmp_path / "x", model.state_dict())
    assert load_state(tmp_path / "x", trained(1)[0])
    assert not load_state(tmp_path / "x", nn.Linear(2, 2))
    (tmp_path / "x").write_bytes(b"junk")
    assert not load_state(tmp_path / "x", model)
