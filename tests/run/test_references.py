"""The references of the winner: asked for, compared once, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mpsearch.config import StudyConfig
from mpsearch.run.ledger import Ledger
from mpsearch.run.references import float_control, uniform_reference
from mpsearch.run.retraining import Retraining, retrain_allocation
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs
from tests.run.tiny import Phases, tiny_setup, tiny_study


def referred(config: StudyConfig, directory: Path) -> tuple[tuple[Any, Any, Retraining, Ledger], Phases]:
    """(Arguments of a reference after the study, the phases that it goes through)."""
    setup, phases = tiny_setup(config), Phases()
    default = search_settings(config).default
    settings = Retraining(
        evaluator=Evaluator(setup.problem, Compiler("off", setup.problem.device)),
        hyper=replace(default, recipe=with_epochs(default.recipe, config.retrain.epochs)),
        split=setup.splits.train,
        seed=1,
        ledger=Ledger(directory),
        progress=phases,
    )
    return (config, setup, settings, Ledger(directory)), phases


def test_a_reference_that_is_not_asked_for_or_does_not_fit_is_none(tmp_path: Path) -> None:
    arguments, phases = referred(tiny_study(retrain={"epochs": 0, "uniform": False}), tmp_path)
    assert uniform_reference(*arguments) is None
    assert float_control(*arguments) is None
    assert phases.titles == []


def test_candidates_are_compared_once_and_the_best_is_read_back(tmp_path: Path) -> None:
    config = tiny_study(budgets=["7bit"], retrain={"epochs": 1})
    arguments, phases = referred(config, tmp_path)
    first = uniform_reference(*arguments)
    assert first is not None
    assert first.record.origin.startswith("uniform ")
    assert list(first.record.scores) == ["ptq", "full"]
    assert first.path == tmp_path / "uniform.safetensors"
    assert phases.titles == ["uniform candidates", "retraining uniform"]
    arguments, phases = referred(config, tmp_path)
    again = uniform_reference(*arguments)
    assert again is not None
    assert again.record == first.record
    assert phases.titles == ["uniform candidates"]


def test_candidates_are_compared_half_way_and_the_best_is_trained_on(tmp_path: Path) -> None:
    arguments, phases = referred(tiny_study(budgets=["7bit"], retrain={"epochs": 3}), tmp_path)
    settings = arguments[2]
    best = uniform_reference(*arguments)
    assert best is not None
    halved, last = phases.titles[1:-1], phases.titles[-1]
    assert (phases.titles[0], last) == ("uniform candidates", "retraining uniform")
    assert f"retraining {best.record.origin}" in halved
    assert len(set(halved)) == len(halved) > 1
    halves = json.loads((tmp_path / "uniform_candidates.json").read_text())["result"]
    assert all(list(half["scores"]) == ["half"] and len(half["curve"]) == 2 for half in halves)
    ahead = min(halves, key=lambda half: (half["scores"]["half"]["error"], half["scores"]["half"]["loss"]))
    assert ahead["origin"] == best.record.origin
    (tmp_path / "alone").mkdir()
    whole, _ = retrain_allocation(replace(settings, ledger=Ledger(tmp_path / "alone")), "whole", replace(best.record, scores={}))
    assert whole.scores == best.record.scores
    assert whole.curve == best.record.curve


def test_the_control_is_read_back_to_the_bit(tmp_path: Path) -> None:
    config = tiny_study(retrain={"epochs": 1, "control": True})
    controls = []
    for titles in (["float control"], []):
        arguments, phases = referred(config, tmp_path)
        controls.append(float_control(*arguments))
        assert phases.titles == titles
    first, again = controls
    assert first is not None
    assert again is not None
    assert first.record == again.record
    assert all(torch.equal(a, b) for a, b in zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True))
