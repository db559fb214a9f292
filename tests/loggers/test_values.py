from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from mpsearch.core.record import Score
from mpsearch.loggers.values import epoch_values, settings_text, summary_values, trial_values
from mpsearch.testing.logger_contract import logged_summary

NAME = re.compile(r"[\w\-./ ]+")


def test_a_trial_is_its_scores_costs_bits_and_origin() -> None:
    record = logged_summary().trials[1]
    values = trial_values(record, "accuracy")
    assert (values.axis, values.step) == ("trial", record.number)
    expected = {
        "trial/accuracy": record.score.metric,
        "trial/loss": record.score.loss,
        "trial/ptq/accuracy": record.score.metric,
        "trial/size": record.costs["size"],
        "trial/feasible": 1.0,
        "trial/failed": 0.0,
        "trial/param/recipe.lr": 0.01,
        "bits/conv1": 3.0,
        "input bits/conv1": 8.0,
    }
    assert expected.items() <= values.numbers.items()
    assert values.texts["trial/origin"] == "milp:fisher"
    assert values.texts["trial/param/method"] == "lsq"
    assert values.texts["trial/bits"].splitlines()[0] == "conv1: w3a8"


def test_a_failed_trial_has_its_reason_and_no_score() -> None:
    values = trial_values(logged_summary().trials[-1], "accuracy")
    assert values.numbers["trial/failed"] == 1.0
    assert "trial/accuracy" not in values.numbers
    assert values.texts["trial/note"] == "the loss became NaN\nand \\x1b[31m stayed so", "no commands for a terminal"


def test_names_are_such_as_every_tracker_takes() -> None:
    summary = logged_summary()
    for values in (trial_values(summary.trials[0], "F1 (macro)"), summary_values(summary)):
        for name in (*values.numbers, *values.texts):
            assert NAME.fullmatch(name), name


def test_what_is_no_finite_number_is_left_out() -> None:
    record = logged_summary().trials[0]
    odd = replace(record, scores={"ptq": Score(loss=math.inf, error=0.1, metric=math.nan)})
    assert all(math.isfinite(value) for value in trial_values(odd, "accuracy").numbers.values())


def test_an_epoch_is_a_point_of_its_networks_curve() -> None:
    values = epoch_values("winner", {"epoch": 3, "loss": 0.5, "metric": 0.9}, "accuracy")
    assert (values.axis, values.step) == ("winner", 3)
    assert values.numbers == {"retraining/winner/loss": 0.5, "retraining/winner/accuracy": 0.9}


def test_a_run_is_its_final_scores_and_its_file() -> None:
    summary = logged_summary()
    values = summary_values(summary)
    expected = {
        "summary/float/test accuracy": summary.test["float"].metric,
        "summary/winner/test accuracy": summary.test["winner"].metric,
        "summary/winner/validation accuracy": summary.winner.score.metric,
        "summary/file bytes": 102.0,
        "summary/compression": 1024 / 102,
        "summary/trials": 4.0,
    }
    assert {name: values.numbers[name] for name in expected} == pytest.approx(expected)
    assert values.texts["summary/budgets"] == "200B"


def test_settings_are_one_text_a_key() -> None:
    study = {"name": "a", "recipe": {"lr": {"low": 1, "high": 2}}, "budgets": ["2MB"], "pins": {}}
    assert settings_text(study) == {"name": "a", "recipe.lr.low": "1", "recipe.lr.high": "2", "budgets": "['2MB']", "pins": "{}"}
