"""`--evaluate`: what trials are scored by, from the settings to the finished run, killed in between or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.errors import ConfigError, UsageError
from mpsearch.core.summary import Summary
from mpsearch.training.recipe import Recipe
from mpsearch.training.sandwich import Sandwich

RECIPE = Recipe(optimizer="adamw", lr=2e-3, scale_lr=0.1, batch_size=32, distill=0.5, reestimate=96, precision="float32")


def searched(run_dir: Path, **options: Any) -> mpsearch.Result:
    torch.manual_seed(0)
    x = torch.randn(240, 6)
    y = (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    train, validation = TensorDataset(x[:160], y[:160]), TensorDataset(x[160:], y[160:])
    fixed = {"budget": "3bit", "signals": ["fisher"], "images": 64, "epochs": 1, "trials": 5, "recipe": RECIPE, "progress": False}
    return mpsearch.search(model, train, validation, run_dir=run_dir, **{**fixed, **options})


def test_a_killed_supernet_study_ends_as_if_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(tmp_path / "whole", evaluate="supernet")
    assert all(next(iter(trial.scores)) == "supernet" for trial in whole.summary.trials)
    assert any(trial.rung == "short" for trial in whole.summary.trials)
    assert whole.summary.seconds["supernet"] > 0
    assert "rung supernet" in (tmp_path / "whole" / "card.md").read_text()

    draw, draws = Sandwich.draw, iter(range(12))

    def killed(self: Any) -> Any:
        if next(draws, None) is None:
            raise KeyboardInterrupt
        return draw(self)

    with monkeypatch.context() as patched:
        patched.setattr(Sandwich, "draw", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "killed", evaluate="supernet")
    assert (tmp_path / "killed" / "supernet.checkpoint").exists()
    resumed = searched(tmp_path / "killed", evaluate="supernet")
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert [trial.scores for trial in resumed.summary.trials] == [trial.scores for trial in whole.summary.trials]
    assert not list((tmp_path / "killed").glob("*.checkpoint"))


def test_ptq_trains_no_trial(tmp_path: Path) -> None:
    result = searched(tmp_path, evaluate="ptq", effort="thorough")
    assert {trial.rung for trial in result.summary.trials} == {"ptq"}
    assert any("after calibration only" in said for said in result.summary.skipped)


def test_training_that_is_thrown_away_is_said_so(tmp_path: Path) -> None:
    """The float network knows the classes, and so does the calibrated one until a wild learning rate comes over it."""
    torch.manual_seed(0)
    x = torch.randn(240, 6)
    y = (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()
    model = nn.Sequential(nn.Linear(6, 2, bias=False))
    model[0].weight.data = torch.tensor([[-3.0] * 3 + [3.0] * 3, [3.0] * 3 + [-3.0] * 3])
    data = TensorDataset(x, y)
    wild = Recipe(optimizer="sgd", lr=1e3, batch_size=32, distill=0.0, reestimate=0, precision="float32")
    options: dict[str, Any] = {"signals": ["fisher"], "images": 64, "epochs": 1, "trials": 2, "effort": "quick", "progress": False}
    summary = mpsearch.search(model, data, data, budget="4bit", recipe=wild, run_dir=tmp_path / "run", **options).summary
    assert summary.winner.note.startswith("Training ended above calibration alone")
    assert summary.winner.note in summary.skipped
    assert (tmp_path / "run" / "card.md").read_text().count("Training ended above calibration alone on validation") == 1 + sum(
        said.startswith("Best uniform allocation: Training ended") for said in summary.skipped
    )


def test_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.evaluate: should be 'ptq', 'qat' or 'supernet', not 'guess'"):
        searched(tmp_path / "never", evaluate="guess")
    assert not (tmp_path / "never").exists()


def test_the_smallest_file_that_keeps_a_share_is_searched_and_said(tmp_path: Path) -> None:
    result = searched(tmp_path / "run", budget=(), keep="90%", evaluate="ptq", epochs=0, trials=6)
    summary, kept = result.summary, result.summary.kept
    assert kept is not None
    bound = 0.9 * summary.reference.scores["validation"].metric
    assert kept.metric == pytest.approx(bound)
    held = [record for record in summary.trials if record.score.metric >= bound]
    assert kept.verified == bool(held)
    assert kept.held == (summary.winner.score.metric >= bound - 1e-9)
    if held:
        least = min(held, key=lambda record: record.costs["size"])
        assert summary.mixed.allocation == least.allocation
        assert [(budget.cost, budget.limit) for budget in summary.budgets] == [("size", least.costs["size"])]
        assert result.path.stat().st_size <= least.costs["size"]
    assert Summary.from_dict(summary.to_dict()).kept == kept


def test_what_cannot_be_asked_together_is_one_line(tmp_path: Path) -> None:
    for options, told in (
        ({"keep": "99%", "max_drop": 0.5}, "keep and max_drop ask for two bounds"),
        ({"keep": "99%", "budget": "1KB..2KB"}, "asks for a front, and keep 99% for one network"),
        ({"keep": "0"}, "is no share of the float metric"),
        ({"budget": (), "max_drop": -1.0}, "drop"),
        ({"budget": ()}, "no budget given"),
        ({"keep": "99%", "cost": "weather"}, "weather"),
    ):
        with pytest.raises(UsageError, match=told):
            searched(tmp_path / "never", **options)


def test_another_sampler_does_not_look_for_what_keeps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only mpsearch's own looks for the cheapest"):
        searched(tmp_path / "never", keep="99%", sampler=optuna.samplers.NSGAIISampler())
