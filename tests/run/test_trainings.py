"""What earlier studies of a machine have kept: read back, line by line, whatever happened to the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.run.trainings import Training, earlier_trainings, keep_training

ONE = Training(task="classification", metric="accuracy", trained=False, epochs=2, float_error=0.1, before=0.2, after=0.15, noise=0.01)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_kept_is_read_back_in_order() -> None:
    assert earlier_trainings() == []
    for epochs in (1, 2, 3):
        keep_training(replace(ONE, epochs=epochs))
    assert [each.epochs for each in earlier_trainings()] == [1, 2, 3]
    assert earlier_trainings()[1] == ONE


def test_lines_that_cannot_be_read_are_passed_over(cache: Path) -> None:
    keep_training(ONE)
    file = cache / "trainings.jsonl"
    broken = ['{"task": "classif', "[]", '{"task": 3}', "null", "[" * 5000, file.read_text().replace("0.15", '"x"').strip()]
    file.write_bytes("\n".join([*broken, ""]).encode() + b"\xff\xfe\n" + file.read_bytes())
    assert earlier_trainings() == [ONE]


def test_no_more_than_the_latest_are_read(cache: Path) -> None:
    keep_training(ONE)
    line = (cache / "trainings.jsonl").read_text()
    (cache / "trainings.jsonl").write_text(line * 450)
    assert len(earlier_trainings()) == 400


def test_a_cache_that_cannot_be_written_to_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "file"))
    keep_training(ONE)
    assert earlier_trainings() == []


def test_alike_is_what_was_measured_alike() -> None:
    assert ONE.like(replace(ONE, epochs=9, before=0.5))
    for other in (replace(ONE, trained=True), replace(ONE, metric="mIoU"), replace(ONE, task="custom")):
        assert not ONE.like(other)
