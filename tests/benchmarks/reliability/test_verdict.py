"""The judge of the fuzzers tells right from wrong: one that could not would pass everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reliability import verdict
from benchmarks.reliability.verdict import Verdicts, limited_memory, write_results
from mpsearch.core.errors import ConfigError


def refused() -> None:
    raise ConfigError("one line")


def several_lines() -> None:
    raise ConfigError("one line\nand another")


def foreign() -> None:
    raise RuntimeError("not ours")


def hanging() -> None:
    while True:
        pass


def large() -> None:
    with limited_memory(64 * 2**20):
        np.ones(2**27)


@pytest.mark.parametrize(
    ("action", "outcome"),
    [(lambda: None, "read"), (refused, "refused"), (several_lines, "lines"), (foreign, "foreign"), (hanging, "hang"), (large, "memory")],
)
def test_every_outcome_is_told_from_the_others(action: object, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "PATIENCE", 0.3)
    verdicts = Verdicts()
    assert callable(action)
    assert verdicts.judge(action, lambda: "the input") == outcome
    assert [defect["input"] for defect in verdicts.defects] == ([] if outcome in ("read", "refused") else ["the input"])
    assert verdicts.report("inputs", None) == (0 if outcome in ("read", "refused") else 1)


def test_results_are_written_and_defects_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_results({"what": "x", "rounds": 2, "differ": []}, tmp_path / "a" / "x.json") == 0
    assert json.loads((tmp_path / "a" / "x.json").read_text()) == {"what": "x", "rounds": 2, "differ": []}
    assert write_results({"what": "x", "differ": [{"point": "p"}]}, None) == 1
    assert "point: p" in capsys.readouterr().out
