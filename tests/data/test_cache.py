from __future__ import annotations

import pytest

from mpsearch.data import cache_directory


def test_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    monkeypatch.setenv("MPSEARCH_CACHE", "/own")
    assert str(cache_directory()) == "/own"
    monkeypatch.delenv("MPSEARCH_CACHE")
    assert str(cache_directory()) == "/shared/mpsearch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(cache_directory()) == "/home/me/.cache/mpsearch"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MPSEARCH_CACHE", "~/here")
    assert str(cache_directory()) == "/home/me/here"
