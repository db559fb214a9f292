"""Whatever file of a run is damaged or gone, the same command ends where it ended before; what is handed over is verified each time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.run import run_study
from tests.run.tiny import tiny_study

STORED = [
    "run.json", "study.yaml", "identity.json", "prepared.json", "study.db", "winner.json", "uniform.json", "uniform_candidates.json",
    "control.json", "control.pt", "test.json", "seconds.json", "passes.json", "model.safetensors", "uniform.safetensors",
]  # fmt: skip
DELIVERED = ["model.safetensors", "bits.yaml", "card.json", "card.md", "summary.json", "front.html"]


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def ran(directory: Path) -> tuple[Summary, list[str]]:
    said = Said()
    config = tiny_study(budgets=["7bit"], retrain={"epochs": 1, "control": True})
    return run_study(config, directory, "command", said), said.lines


def essence(directory: Path) -> list[Any]:
    plain = json.loads((directory / "summary.json").read_text())
    ended = [plain[name] for name in ("winner", "uniform", "uniform_spent", "searched", "control") if plain[name] is not None]
    for record in (*plain["trials"], *ended):
        del record["seconds"]
    for name in ("seconds", "tables", "delivered", "digest"):
        del plain[name]
    return [plain, (directory / "model.safetensors").read_bytes(), (directory / "bits.yaml").read_text()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    ran(directory)
    assert {*STORED, *DELIVERED} <= {file.name for file in directory.iterdir()}
    return directory


def damage(file: Path, kind: str) -> None:
    data = file.read_bytes()
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "half": data[: len(data) // 2], "junk": bytes(range(256)) * 8, "flip": flipped(data)}[kind])


def flipped(data: bytes) -> bytes:
    """In the middle; of a database in a record, since the middle may be a place that nothing uses."""
    middle = data.rfind(b'"loss"') if data.startswith(b"SQLite") else len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


KINDS = ("gone", "empty", "half", "junk", "flip")


@pytest.mark.parametrize(("name", "kind"), [(name, KINDS[place % 5]) for place, name in enumerate(STORED)] + [("study.db", "junk")])
def test_a_run_goes_on_without_what_was_lost(name: str, kind: str, whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "summary.json").unlink()
    damage(directory / name, kind)
    _, said = ran(directory)
    assert essence(directory) == essence(whole)
    if kind != "gone" and name not in ("study.yaml", "run.json", "passes.json"):
        assert any(name in line for line in said), said


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in DELIVERED for kind in ("gone", "half")])
def test_what_a_finished_run_hands_over_is_made_again(name: str, kind: str, whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    damage(directory / name, kind)
    ran(directory)
    if (name, kind) != ("bits.yaml", "half"):  # it is there to be edited
        assert essence(directory) == essence(whole)
    assert all((directory / each).exists() for each in DELIVERED)


def test_a_damaged_database_is_kept_aside(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "summary.json").unlink()
    damage(directory / "study.db", "junk")
    _, said = ran(directory)
    assert (directory / "study.db.damaged").read_bytes() == bytes(range(256)) * 8
    assert "study.db was damaged; it is kept as study.db.damaged, and its trials are run again" in said
