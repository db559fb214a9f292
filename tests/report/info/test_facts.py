from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.record import Score
from mpsearch.costs.budgets import parse_budget
from mpsearch.report.info import facts
from tests.report.summaries import make_summary


def _test_scores(winner: float, uniform: float) -> dict[str, Score]:
    return {
        name: Score(loss=0.4, error=1 - metric, metric=metric)
        for name, metric in {"float": 0.9, "winner": winner, "uniform": uniform}.items()
    }


def test_facts_of_a_finished_run_are_of_the_test_split() -> None:
    summary = make_summary()
    known = facts(summary)
    assert known.split == "test"
    assert known.scores == summary.test
    assert known.drop == pytest.approx(0.8901 - 0.8930)
    assert known.compression == pytest.approx(1_091_418 / summary.artifact_bytes)
    assert known.bits.weight_bytes < summary.artifact_bytes


@pytest.mark.parametrize(
    ("winner", "uniform", "won", "words"),
    [(0.89, 0.878, True, "won by +1.20 points"), (0.87, 0.88, False, "did not win (\u22121.00 points)"), (0.88, 0.88, None, "a draw")],
)
def test_verdict(winner: float, uniform: float, won: bool | None, words: str) -> None:
    verdict = facts(replace(make_summary(), test=_test_scores(winner, uniform))).verdict
    assert verdict.won is won
    assert verdict.gain == pytest.approx(winner - uniform)
    assert words in verdict.sentence
    assert "w2af" in verdict.sentence


def test_a_metric_where_lower_is_better_is_judged_by_its_error() -> None:
    scores = {name: Score(loss=value, error=value, metric=value) for name, value in {"float": 1.0, "winner": 1.1, "uniform": 1.5}.items()}
    verdict = facts(replace(make_summary(), metric="MSE", test=scores)).verdict
    assert verdict.won is True
    assert "1.1 against 1.5" in verdict.sentence


def test_no_uniform_reference_is_no_victory() -> None:
    verdict = facts(replace(make_summary(), uniform=None)).verdict
    assert verdict.won is None
    assert verdict.gain is None
    assert "no uniform allocation" in verdict.sentence


def test_without_a_test_split_the_validation_scores_stand_and_say_so() -> None:
    summary = make_summary()
    known = facts(replace(summary, test={}))
    assert known.split == "validation"
    assert known.scores["winner"] == summary.winner.score
    assert known.verdict.won is True
    assert "validation split" in known.verdict.sentence


def test_budgets_hold_for_the_file_not_for_a_formula() -> None:
    summary = make_summary()
    check = facts(summary).budgets[0]
    assert check.ok is True
    assert check.amount == summary.artifact_bytes
    assert check.reachable == (41_216.0, 278_000.0)
    assert facts(replace(summary, artifact_bytes=80_001)).budgets[0].ok is False


def test_every_budget_is_checked() -> None:
    summary = make_summary()
    reachable = {**summary.reachable, "bits": (1.0, 8.0)}
    checks = facts(replace(summary, budgets=(parse_budget("80KB"), parse_budget("1bit")), reachable=reachable)).budgets
    assert [check.ok for check in checks] == [True, False]
