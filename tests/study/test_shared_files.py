"""Shared files are whole or they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.study.shared_files import SharedFiles


def test_a_file_is_found_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"weights" * 1000)
    store = SharedFiles(tmp_path / "store")
    digest = store.put(tmp_path / "mine")
    assert store.put(tmp_path / "mine") == digest
    assert store.names() == {digest}
    assert SharedFiles(tmp_path / "store").fetch(digest, tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == b"weights" * 1000
    assert store.remove(digest) == 7000
    assert not store.fetch(digest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 64, "/etc/passwd"])
def test_other_names_are_no_files(name: str, tmp_path: Path) -> None:
    assert not SharedFiles(tmp_path).fetch(name, tmp_path / "out")


def test_half_a_file_is_none_and_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"weights" * 1000)
    store = SharedFiles(tmp_path / "store")
    digest = store.put(tmp_path / "mine")
    (tmp_path / "store" / digest).write_bytes(b"weights")
    assert not store.fetch(digest, tmp_path / "theirs")
    store.put(tmp_path / "mine")
    assert store.fetch(digest, tmp_path / "theirs")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"artifacts: .* cannot be written .*; make room there, or give another --artifacts"):
        SharedFiles(tmp_path / "mine" / "store").put(tmp_path / "mine")
