"""A file is the old one or the new one, never a part."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.report.atomic import write_whole


def test_directories_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.html"
    assert write_whole(path, "ä\n") == path
    write_whole(path, "second")
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == ["text.html"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "text.html", "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half of a pair: \ud800")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["text.html"]


def test_the_file_can_be_read_by_others(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "text.html", "").stat().st_mode & 0o777 == 0o644
