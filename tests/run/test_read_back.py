"""What is read back is sound, or there is nothing and a line that says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.errors import RunDirectoryError
from mpsearch.run.read_back import read_back, read_bytes, read_json


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


def test_a_link_a_pipe_and_what_has_no_end_are_damage_before_they_are_opened(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(5 << 30)
    for name, told in (("link", "is a link"), ("pipe", "is no file"), ("sparse", "has 5,368,709,120 bytes, where at most")):
        file_of = tmp_path / f"{name}.json"
        said: list[str] = []
        assert read_back(file_of, load, said.append) is None
        assert said == [f"{name}.json was damaged; what it held is computed again"]
        for read in (read_bytes, lambda path: read_json(path, load)):
            with pytest.raises(RunDirectoryError, match=told):
                read(file_of)


def test_a_refusal_says_where_in_one_short_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"choice": ["w999"]}')
    with pytest.raises(RunDirectoryError, match=r"a\.json is damaged \(choice: .*'w999'.*\); run the study again"):
        read_json(tmp_path / "a.json", load)
    (tmp_path / "a.json").write_text('{"choice": ["' + 10_000 * "x" + '"]}')
    with pytest.raises(RunDirectoryError) as refusal:
        read_json(tmp_path / "a.json", load)
    assert len(str(refusal.value)) < 400
