"""A run directory that a stranger made up, digests and all: one line, or the same outcome; nothing outside it is read or written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from mpsearch.core.errors import MpsearchError, RunDirectoryError
from mpsearch.core.files import file_digest
from mpsearch.core.progress import Silent
from mpsearch.data.fingerprint import content_digest
from mpsearch.run import run_study
from tests.run.tiny import tiny_study

LATE = ("summary.json", "front.html", "card.md", "card.json")
TRAINED = ("winner.json", "uniform.json", "control.json", "test.json")


def ran(directory: Path) -> None:
    run_study(tiny_study(budgets=["7bit"], retrain={"epochs": 1, "control": True}), directory, "command", Silent())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    ran(directory)
    return directory


@pytest.fixture
def unfinished(whole: Path, tmp_path: Path) -> Path:
    """The run before its summary was written."""
    directory = shutil.copytree(whole, tmp_path / "run")
    for name in LATE:
        (directory / name).unlink()
    return directory


@pytest.fixture
def untrained(unfinished: Path) -> Path:
    """The run before its winner was trained."""
    for name in TRAINED:
        (unfinished / name).unlink()
    return unfinished


def sql(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / "study.db")) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount != 0, statement


def forge(file: Path, change: Callable[[Any], object]) -> None:
    """Change a result, and seal it again."""
    plain = json.loads(file.read_text())
    change(plain["result"])
    file.write_text(json.dumps({**plain, "digest": content_digest([json.dumps(plain["result"])])}))


def record(path: str, value: str) -> str:
    return f"UPDATE trial_user_attributes SET value_json = json_set(value_json, '$.{path}', json('{value}')) WHERE key = 'record'"


def parameter(distribution: str, value: int) -> str:
    return f"INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (1, 'x', {value}, '{distribution}')"


OPEN = "DELETE FROM study_user_attributes WHERE key = 'ended'"
ROWS = {
    "outlook of other fields": (
        OPEN, """UPDATE trial_user_attributes SET value_json = '{"origin": "x", "noise": []}' WHERE key = 'proposal'""",
    ),
    "no scores": (record("scores", "{}"),),
    "costs of words": (record("costs", '{"size": "x", "bits": "y"}'),),
    "no costs": (record("costs", "{}"),),
    "bits of other layers": ("UPDATE trial_user_attributes SET value_json = '\"w4af*99\"' WHERE key = 'bits'",),
    "bits that nobody knows": ("UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'bits'",),
    "a trial without a proposal": ("DELETE FROM trial_user_attributes WHERE key = 'proposal'",),
    "layers of another network": ("UPDATE study_user_attributes SET value_json = '[\"zzz\"]' WHERE key = 'layers'",),
    "a method that nobody knows": (record("params", '{"method": "evil"}'),),
    "a record of no JSON": ("UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'record'",),
    "a record that is deep": (f"UPDATE trial_user_attributes SET value_json = '{'[' * 20_000}' WHERE key = 'record'",),
    "a distribution that nobody knows": (
        OPEN, parameter('{"name": "EvilDistribution", "attributes": {}}', 0),
    ),
    "a distribution of no JSON": (OPEN, parameter("x", 0)),
    "a parameter out of range": (OPEN, parameter('{"name": "CategoricalDistribution", "attributes": {"choices": ["a"]}}', 99999)),
    "a state that nobody knows": ("UPDATE trials SET state = 'EVIL'",),
}  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
def test_forged_rows_are_one_line(kind: str, untrained: Path) -> None:
    sql(untrained, *ROWS[kind])
    with pytest.raises(MpsearchError) as refused:
        ran(untrained)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("prepared.json", lambda plain: plain["signals"]["tables"][0].update(layers=["a", "b", "c"])),
        ("prepared.json", lambda plain: plain.update(signals=5)),
        ("prepared.json", lambda plain: plain.update(initial=[["x", {"zzz": "w4a8"}]])),
        ("winner.json", lambda plain: plain["record"].update(costs={})),
        ("winner.json", lambda plain: plain["record"].update(scores={})),
        ("uniform.json", lambda plain: plain["record"].update(allocation={"zzz": "w4af"})),
    ],
)
def test_forged_results_are_computed_again(file: str, change: Callable[[Any], object], unfinished: Path) -> None:
    forge(unfinished / file, change)
    ran(unfinished)
    assert (unfinished / "summary.json").exists()


class Evil:
    """Pickled code."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("content", [b"junk", {"a": torch.zeros(3)}, Evil()])
def test_a_forged_network_is_trained_again(content: Any, unfinished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(unfinished.parent)
    state = unfinished / "control.pt"
    if isinstance(content, bytes):
        state.write_bytes(content)
    else:
        torch.save(content, state)
    forge(unfinished / "control.json", lambda plain: plain.update(digest=file_digest(state)))
    ran(unfinished)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", ["study.db", "study.db-wal", "bits.yaml", "card.md", "winner.checkpoint"])
@pytest.mark.parametrize("there", [True, False])
def test_nothing_outside_is_reached_by_a_link(name: str, there: bool, unfinished: Path) -> None:
    outside = unfinished.parent / "mine"
    if there:
        outside.write_text("precious")
    (unfinished / name).unlink(missing_ok=True)
    (unfinished / name).symlink_to(outside)
    with pytest.raises(RunDirectoryError, match=rf"{name} is a link; remove it"):
        ran(unfinished)
    assert outside.exists() == there
    assert not there or outside.read_text() == "precious"


def test_a_pipe_does_not_hang(unfinished: Path) -> None:
    (unfinished / "run.json").unlink()
    os.mkfifo(unfinished / "run.json")
    with pytest.raises(RunDirectoryError, match=r"run\.json is no file; remove it"):
        ran(unfinished)
