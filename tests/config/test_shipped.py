from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.config.shipped import find_yaml, shipped_folder, shipped_names
from mpsearch.core.errors import ConfigError, UnknownNameError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["studies", "spaces"])
def test_shipped_files_are_found_by_name(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = shipped_names(folder)
    assert names == tuple(sorted(file.stem for file in (ROOT / folder).glob("*.yaml")))
    assert find_yaml("file", folder, names[0]) == shipped_folder(folder) / f"{names[0]}.yaml"


def test_files_of_the_working_directory_are_named_too_and_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    for name in ("mine.yml", "weights-only.yaml", "notes.txt"):
        (tmp_path / "spaces" / name).write_text("")
    assert {"mine", "weights-only"} <= set(shipped_names("spaces"))
    assert "notes" not in shipped_names("spaces")
    assert find_yaml("space", "spaces", "mine") == Path("spaces/mine.yml")
    assert find_yaml("space", "spaces", "weights-only") == Path("spaces/weights-only.yaml")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("")
    assert find_yaml("study", "studies", str(file)) == file


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown space 'nope'; known: "):
        find_yaml("space", "spaces", "nope")
    with pytest.raises(ConfigError, match=r"there is no space file 'nope\.yaml'; give a YAML file or one of "):
        find_yaml("space", "spaces", "nope.yaml")
    with pytest.raises(ConfigError, match=r"there is no space file './weights-only'; the name of the shipped space is 'weights-only'"):
        find_yaml("space", "spaces", "./weights-only")
