from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mpsearch.core.errors import UnknownNameError
from mpsearch.core.registry import Registry


def family(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, **modules: str) -> Registry[object]:
    """A package on the import path, with a registry of its own and the modules given."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"from mpsearch.core.registry import Registry\nTHINGS = Registry('thing', '{name}')\n")
    for module, source in modules.items():
        (folder / name / f"{module}.py").write_text(f"from {name} import THINGS\n{source}\n")
    monkeypatch.syspath_prepend(folder)
    package = __import__(name)
    registry = package.THINGS
    assert isinstance(registry, Registry)
    return registry


def announced(folder: Path, group: str, entries: str) -> None:
    """What pip leaves of a package with entry points."""
    (folder / "other-2.0.dist-info").mkdir()
    (folder / "other-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.0\n")
    (folder / "other-2.0.dist-info" / "entry_points.txt").write_text(f"[{group}]\n{entries}\n")


def test_refuses_to_overwrite_and_names_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = family(tmp_path, "things_by_hand", monkeypatch)
    registry.register("b")(int)
    registry.register("a")(str)
    assert registry.names() == tuple(registry) == ("a", "b")
    assert registry["a"] is str
    assert "c" not in registry
    with pytest.raises(ValueError, match="thing 'a' is registered twice"):
        registry.register("a")(float)
    with pytest.raises(UnknownNameError, match=r"unknown thing 'c'; known: a, b$"):
        registry["c"]


def test_imports_its_files_when_first_asked_and_no_private_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = family(tmp_path, "things_in_files", monkeypatch, one="THINGS.register('one')(1)", _two="THINGS.register('two')(2)")
    assert "things_in_files.one" not in sys.modules
    assert registry.items() == (("one", 1),)


def test_entry_points_bring_members_that_may_look_up_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = family(tmp_path, "things_of_others", monkeypatch, one="THINGS.register('one')(1)")
    (tmp_path / "other_of_others.py").write_text("from things_of_others import THINGS\nTHINGS.register('two')(THINGS['one'] + 1)\n")
    announced(tmp_path, "things_of_others", "two = other_of_others")
    assert registry.items() == (("one", 1), ("two", 2))
    assert registry.broken() == ()


def test_a_broken_entry_point_is_a_line_and_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = family(tmp_path, "things_and_broken", monkeypatch, one="THINGS.register('one')(1)")
    announced(tmp_path, "things_and_broken", "gone = nowhere_to_be_found\nmute = json")
    assert registry.names() == ("one",)
    gone, mute = registry.broken()
    assert gone.startswith("thing 'gone' of the package other 2.0 could not be loaded (ModuleNotFoundError: No module named 'nowhere_to")
    assert "'json' registers no thing of that name" in mute
    with pytest.raises(UnknownNameError, match=r"unknown thing 'gone'; known: one; thing 'gone' of the package other 2.0") as caught:
        registry["gone"]
    assert caught.value.broken == (gone, mute)


def test_a_member_for_a_while_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = family(tmp_path, "things_for_a_while", monkeypatch)
    registry.register("a")(str)
    with registry.temporarily("a", int), registry.temporarily("b", float):
        assert (registry["a"], registry["b"]) == (int, float)
    with pytest.raises(ZeroDivisionError), registry.temporarily("a", int):
        raise ZeroDivisionError
    assert registry.items() == (("a", str),)
