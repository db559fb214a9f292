"""A file holds its old content or its new one, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpsearch.core.files import LEFTOVERS, replacing, write_bytes, write_text


def test_text_and_bytes_are_written_whole_into_a_folder_that_was_missing(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "note.txt"
    assert write_text(file, "4 Bit für √w\n") == file
    assert file.read_bytes() == "4 Bit für √w\n".encode()
    assert write_bytes(file, b"\x00\xff").read_bytes() == b"\x00\xff"
    assert [entry.name for entry in file.parent.iterdir()] == ["note.txt"]


def test_the_file_is_replaced_at_the_end_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    write_bytes(file, b"old")
    with replacing(file) as temporary:
        assert temporary.parent == file.parent, "a rename across file systems is no replacement"
        temporary.write_bytes(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_changes_nothing_and_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "model.bin"
    write_bytes(file, b"old")
    with pytest.raises(error):
        _fails_half_way(file, error)
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.bin"]


def _fails_half_way(file: Path, error: type[BaseException]) -> None:
    with replacing(file) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_a_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    write_bytes(tmp_path / "kept", b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "kept"):
        pass
    assert (tmp_path / "kept").read_bytes() == b"old"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "cache.bin"
    with replacing(file) as first:
        first.write_bytes(b"first")
        with replacing(file) as second:
            second.write_bytes(b"second")
        assert file.read_bytes() == b"second"
    assert file.read_bytes() == b"first"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_killed_process_leaves_the_old_file_and_a_leftover_of_known_name(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_text(file, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from mpsearch.core.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert {entry.name for entry in tmp_path.iterdir()} == {"summary.json", *(left.name for left in tmp_path.glob(LEFTOVERS))}
    assert len(list(tmp_path.glob(LEFTOVERS))) == 1
