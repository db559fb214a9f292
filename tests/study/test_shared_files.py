"""Shared files are whole or they are not there, in a folder and in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.study.shared_files import SharedFiles


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("bucket")) if request.param == "bucket" else str(tmp_path / "store")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine").write_bytes(b"weights" * 1000)
    return tmp_path / "mine"


def damage(place: str, name: str, content: bytes) -> None:
    if place.startswith("s3://"):
        import boto3

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=content)
    else:
        Path(place, name).write_bytes(content)


def test_a_file_is_found_by_what_is_in_it(place: str, mine: Path, tmp_path: Path) -> None:
    store = SharedFiles(place)
    assert store.names() == set()
    digest = store.put(mine)
    assert store.put(mine) == digest
    assert store.names() == {digest}
    assert store.place == place
    assert SharedFiles(place).fetch(digest, tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == b"weights" * 1000
    assert store.remove(digest) == 7000
    with pytest.raises(OSError, match=r"No such file|404"):
        store.remove(digest)
    assert not store.fetch(digest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 64, "/etc/passwd"])
def test_other_names_are_no_files(name: str, tmp_path: Path) -> None:
    assert not SharedFiles(tmp_path).fetch(name, tmp_path / "out")


def test_half_a_file_is_none_and_is_written_again(place: str, mine: Path, tmp_path: Path) -> None:
    store = SharedFiles(place)
    digest = store.put(mine)
    damage(place, digest, b"weights")
    assert not store.fetch(digest, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
    store.put(mine)
    assert store.fetch(digest, tmp_path / "theirs")


def test_other_files_of_the_place_are_left_alone(place: str, mine: Path) -> None:
    store = SharedFiles(place)
    digest = store.put(mine)
    damage(place, "of somebody else", b"x")
    assert store.names() == {digest}


def test_a_folder_that_cannot_be_written_is_one_line(mine: Path) -> None:
    with pytest.raises(ConfigError, match=r"artifacts: .* cannot be written .*; make room there, or give another --artifacts"):
        SharedFiles(mine / "store").put(mine)


def test_a_folder_that_cannot_be_read_is_one_line(mine: Path, tmp_path: Path) -> None:
    store = SharedFiles(tmp_path / "store")
    (tmp_path / "store" / ("a" * 64)).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"artifacts: .* cannot be read \(Is a directory\); mend that, or give another --artifacts"):
        store.fetch("a" * 64, tmp_path / "out")
