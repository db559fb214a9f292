"""Which run directories were made here is noted outside of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mpsearch.run.trust import made_here, remember


def test_only_the_same_study_in_the_same_place_was_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    assert not made_here(mine, "study")
    remember(mine, "study")
    assert made_here(mine, "study")
    assert made_here(tmp_path / "other" / ".." / "mine", "study")
    assert not made_here(mine, "another study")
    shutil.copytree(mine, other)
    assert not made_here(other, "study")
    assert list(mine.iterdir()) == []


def test_a_cache_that_cannot_be_written_trusts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "file"))
    remember(tmp_path, "study")
    assert not made_here(tmp_path, "study")
