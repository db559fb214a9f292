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


def test_files_of_the_working_directory_are_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    for name in ("mine.yml", "notes.txt"):
        (tmp_path / "spaces" / name).write_text("")
    assert {"mine", "weights-only"} <= set(shipped_names("spaces"))
    assert "notes" not in shipped_names("spaces")
    assert find_yaml("space", "spaces", "mine") == Path("spaces/mine.yml")


def test_a_name_means_no_other_file_where_the_command_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A downloaded folder must not put its own study, and the code that it names, in place of the default one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "digits_resnet18.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"one of mpsearch and one of this folder; give studies/digits_resnet18\.yaml for yours"):
        find_yaml("study", "studies", "digits_resnet18")
    sound = shipped_folder("studies") / "digits_resnet18.yaml"
    (tmp_path / "studies" / "digits_resnet18.yaml").write_bytes(sound.read_bytes())  # as in a checkout, where the wheel is installed
    assert find_yaml("study", "studies", "digits_resnet18") == sound


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
