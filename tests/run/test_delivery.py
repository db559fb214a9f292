"""What is delivered is never worse on validation, by more than the noise, than the best uniform bits or a smaller trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.card.schema import Card
from mpsearch.core.choice import Choice
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Summary
from mpsearch.report.info import delivery_lines, replaced_sentence
from mpsearch.report.page import page_html
from mpsearch.run import retrain, run
from mpsearch.run.delivery import better_trial
from mpsearch.run.directory import claimed
from mpsearch.run.ledger import Ledger
from mpsearch.run.work import Worked
from mpsearch.study.settings import search_settings
from mpsearch.targets.packed.artifact import read_artifact
from tests.run.tiny import Phases, digits_net, tiny_setup, tiny_study


def test_uniform_bits_that_are_better_are_delivered(tmp_path: Path) -> None:
    """The given bits are bad ones: two everywhere, where uniform four fit the budget as well."""
    config = tiny_study(float_recipe={"epochs": 8, "batch_size": 64, "lr": 0.05, "optimizer": "sgd", "precision": "float32"})
    setup = tiny_setup(config)
    bad = setup.problem.space.uniform(Choice(2))
    outcomes = []
    for _ in range(2):
        phases = Phases()
        summary = retrain(config, bad, tmp_path / "run", "command", phases)
        outcomes.append((summary, (tmp_path / "run" / "model.safetensors").read_bytes(), phases.titles))
    summary = outcomes[0][0]
    assert summary.winner.allocation == setup.problem.space.uniform(Choice(4))
    assert summary.searched is not None
    assert summary.searched.allocation == bad
    assert summary.mixed is summary.searched
    (comparison,) = summary.comparisons
    assert comparison.delivered
    assert comparison.gain == pytest.approx(summary.searched.score.error - summary.winner.score.error, abs=0.02)
    assert comparison.gain > comparison.noise > 0
    assert summary.noise is not None
    assert {"winner", "uniform", "searched", "float"} <= summary.test.keys()
    assert summary.test["winner"] == summary.test["uniform"]
    assert read_artifact(tmp_path / "run" / summary.artifact).install(digits_net()) is not None
    assert dict(read_artifact(tmp_path / "run" / summary.artifact).allocation) == dict(summary.winner.allocation)
    assert "w4af" in (tmp_path / "run" / "bits.yaml").read_text() or "4" in (tmp_path / "run" / "bits.yaml").read_text()
    sentence = replaced_sentence(summary)
    assert sentence.startswith("Mixed bits gained nothing here: on validation uniform w4af has ")
    assert sentence in page_html(summary).replace("&#x27;", "'")
    assert sentence in Card.from_json((tmp_path / "run" / "card.json").read_text()).provenance.warnings
    assert outcomes[1] == (summary, outcomes[0][1], [])


def test_a_rival_that_is_no_better_leaves_the_winner(tmp_path: Path) -> None:
    config = tiny_study(retrain={"epochs": 1})
    with claimed(tmp_path / "run", config, "command"):
        summary = run(config, lambda: tiny_setup(config), Ledger(tmp_path / "run"), "command", Phases())
    assert all(each.gain <= each.noise for each in summary.comparisons if not each.delivered)
    assert (summary.searched is None) == (not any(each.delivered for each in summary.comparisons))
    assert delivery_lines(summary)
    assert (tmp_path / "run" / "model.safetensors").stat().st_size == summary.artifact_bytes == summary.winner.costs["size"]


def test_images_that_were_trained_on_decide_nothing(tmp_path: Path) -> None:
    config = tiny_study(retrain={"epochs": 1, "include_validation": True})
    setup = tiny_setup(config)
    summary = retrain(config, setup.problem.space.uniform(Choice(2)), tmp_path / "run", "command", Phases())
    assert summary.winner.allocation == setup.problem.space.uniform(Choice(2))
    assert summary.comparisons == ()
    assert summary.noise is None
    assert any("not compared with uniform bits" in sentence for sentence in summary.skipped)


@pytest.mark.parametrize(
    ("error", "size", "feasible", "found"),
    [(0.02, 90.0, True, True), (0.02, 101.0, True, False), (0.03, 90.0, True, False), (0.02, 90.0, False, False)],
    ids=["better and smaller", "better and larger", "no better", "over a budget"],
)
def test_a_trial_is_a_rival_if_it_is_better_and_no_larger(error: float, size: float, feasible: bool, found: bool) -> None:
    problem = tiny_setup(tiny_study()).problem
    four, two = (problem.space.uniform(Choice(bits)) for bits in (4, 2))
    score = Score(loss=error, error=error, metric=1 - error)
    trial = Record(
        number=3, origin="ei", allocation=two, rung="ptq", scores={"ptq": score}, costs={"size": size, "bits": 2.0}, feasible=feasible
    )
    ended = Score(loss=0.03, error=0.03, metric=0.97)
    searched = replace(trial, number=1, allocation=four, rung="full", scores={"full": ended}, costs={"size": 100.0, "bits": 4.0})
    assert (better_trial(problem, [trial, replace(trial, number=4, allocation=four)], searched) is not None) == found


def test_a_space_of_one_choice_runs_and_says_so(tmp_path: Path) -> None:
    config = tiny_study(space={"name": "one", "weights": [4]}, budgets=["4bit"])
    with claimed(tmp_path / "run", config, "command"):
        summary: Summary = run(config, lambda: tiny_setup(config), Ledger(tmp_path / "run"), "command", Phases())
    assert set(summary.winner.allocation.values()) == {Choice(4)}
    assert any("nothing was searched" in sentence for sentence in summary.skipped)
    assert summary.uniform is not None
    assert summary.uniform.score == summary.winner.score


def test_a_worked_result_without_a_search_spends_nothing() -> None:
    config = tiny_study()
    setup = tiny_setup(config)
    hyper = search_settings(config).default
    trial = Record(number=-1, origin="given", allocation=setup.problem.space.uniform(Choice(2)), rung="", costs={})
    assert Worked(trial=trial, hyper=hyper).spend is None
