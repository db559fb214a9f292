from __future__ import annotations

import importlib
import re

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
