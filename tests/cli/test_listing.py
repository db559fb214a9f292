from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from mpsearch.cli import main
from mpsearch.cli.listing import REGISTRIES


@pytest.mark.parametrize("kind", ["studies", "spaces"])
def test_files_are_listed_with_what_they_are(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    told = capsys.readouterr().out
    assert kind in told
    assert ("digits_resnet18" if kind == "studies" else "weights-only") in told


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_plugin_is_listed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    registry = getattr(importlib.import_module(f"mpsearch.{kind}"), kind.upper())
    assert main(["list", kind]) == 0
    words = set(re.split(r"[\s]+", capsys.readouterr().out))
    assert registry.names()
    assert set(registry.names()) <= words


@pytest.mark.parametrize("kind", ["methods", "signals"])
def test_methods_and_signals_name_their_papers(kind: str) -> None:
    for name, member in getattr(importlib.import_module(f"mpsearch.{kind}"), kind.upper()).items():
        assert getattr(member, "paper", ""), f"{name} names no paper"


def test_names_of_a_stranger_do_not_command_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "a\x1b]0;x\x07b.yaml").write_text('description: "\\e]0;pwned\\a"\n')
    assert main(["list", "spaces"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "a\\x1b]0;x\\x07b" in told
    assert "\\x1b]0;pwned" in told
