"""The whole card of real runs on tiny networks, and what becomes of it when a run is killed or the card cannot be filled.

Not tested here: latency and GPU hours, which nothing measures on a CPU.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.card import Card, comparability_group
from mpsearch.report.terminal import print_summary
from mpsearch.tasks.task import Task
from tests.card.runs import RECIPE, card_of, mlp, searched


def test_every_section_is_filled_and_the_group_is_of_the_whole_card(card: Card) -> None:
    assert [flip.toggle for flip in card.ablation.flips] == [f"T{number}" for number in range(1, 10)]
    assert card.provenance.comparability_group == comparability_group(card)
    assert card.formats.weights["rounding"].endswith("codes trained by lsq")
    assert card.resources.passes["card"]["scored"] > 0  # the flips' own passes are written down, too
    assert not card.provenance.failed_checks


def test_the_card_is_linked_and_named(result: mpsearch.Result) -> None:
    assert 'href="card.md"' in (result.run_dir / "front.html").read_text()
    screen = io.StringIO()
    print_summary(result.summary, Console(file=screen, width=200), result.run_dir)
    assert str(result.run_dir / "card.md") in screen.getvalue()
    text = (result.run_dir / "card.md").read_text()
    assert text.startswith("# Quantization card\n\n`Sequential | W")
    assert not list(result.run_dir.glob(".card*"))


def test_a_run_killed_at_its_card_writes_it_the_next_time(
    tmp_path: Path, result: mpsearch.Result, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mpsearch.run.finish.build_card", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path)
    assert not (tmp_path / "run" / "summary.json").exists()
    before = json.loads((tmp_path / "run" / "passes.json").read_text())
    again = searched(tmp_path)
    assert again.path.read_bytes() == result.path.read_bytes()
    passes = card_of(again).resources.passes
    assert passes["study"] == before["study"] == card.resources.passes["study"]
    assert passes["retraining"] == before["retraining"]  # read back: neither trained nor scored again
    assert passes["references"] == before["references"]
    assert passes["test"] == before["test"]
    assert card_of(again).identity.config_id == card.identity.config_id


def test_a_card_that_cannot_be_filled_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr("mpsearch.run.finish.build_card", broken)
    result = searched(tmp_path, trials=1, epochs=0)
    assert result.summary.card == ""
    assert (result.run_dir / "summary.json").exists()
    assert "card.md" not in (result.run_dir / "front.html").read_text()


def test_regression_has_a_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(240, 6)
    y = torch.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)
    result = mpsearch.search(
        mlp().eval(),
        TensorDataset(x[:160], y[:160]),
        TensorDataset(x[160:200], y[160:200]),
        test=TensorDataset(x[200:], y[200:]),
        budget="4bit",
        task=Task.regression(),
        recipe=RECIPE,
        images=32,
        trials=1,
        epochs=0,
        effort="quick",
        signals=["fisher"],
        card="full",
        run_dir=tmp_path / "run",
        progress=False,
    )
    card = card_of(result)
    assert card.result.metric == "MSE"
    assert card.result.worst_class == "n/a: no classes"
    assert {flip.toggle: flip.status for flip in card.ablation.flips}["T8"] == "measured"
    assert not card.ranges.learned
    assert card.resources.tier == "P2"  # the signal differentiates, and reads no label
