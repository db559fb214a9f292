"""What is read back is sound, or there is nothing and a line that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.choice import Choice
from mpsearch.run.read_back import read_back


def load(plain: Any) -> Choice:
    return Choice.parse(plain["choice"][0])


def test_sound_and_missing_files_say_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a.json").write_text('{"choice": ["w4a8"]}')
    assert read_back(tmp_path / "a.json", load, said.append) == Choice(4, 8)
    assert read_back(tmp_path / "b.json", load, said.append) is None
    assert said == []


@pytest.mark.parametrize(
    "content",
    [b"", b'{"choice": ["w4', b"\xff\xfe", b"[1, 2]", b"{}", b'{"choice": []}', b'{"choice": ["w999"]}', b'{"choice": 3}', b"[" * 100_000],
    ids=["empty", "half", "bytes", "list", "no key", "no item", "no choice", "no list", "deep"],
)
def test_a_damaged_file_is_nothing_and_says_so(content: bytes, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a.json").write_bytes(content)
    assert read_back(tmp_path / "a.json", load, said.append) is None
    assert said == ["a.json was damaged; what it held is computed again"]


def test_a_folder_in_its_place_is_damage_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    assert read_back(tmp_path / "a.json", load) is None
