from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.number_format import NumberFormat
from mpsearch.core.promises import Foresight
from mpsearch.costs.budgets import short_amount
from mpsearch.report.wording import duration_text, foresight_sentence, format_text, format_words, gain_text, is_fraction, metric_text
from tests.report.summaries import make_summary


@pytest.mark.parametrize(
    ("amount", "text"),
    [(12, "12 B"), (999, "999 B"), (79_872, "79.87 KB"), (1_999_782, "2 MB"), (44_730_000, "44.73 MB"), (3_210_000_000, "3.21 GB")],
)
def test_sizes_in_four_digits(amount: float, text: str) -> None:
    assert short_amount("size", amount) == text


def test_what_was_foreseen_stands_beside_what_came_out() -> None:
    made = make_summary()
    assert foresight_sentence(made) == ""
    seen = replace(made, foresight=Foresight(metric=0.9, low=0.87, high=0.925, based_on="30 earlier trainings on this machine"))
    assert foresight_sentence(seen) == (
        "Foreseen before retraining: accuracy 90.00 % on validation, 87.00 % to 92.50 % with a probability of 90 % "
        f"(by 30 earlier trainings on this machine); came out {metric_text('accuracy', made.winner.score.metric)}."
    )


def test_other_costs_keep_their_units() -> None:
    assert short_amount("latency", 0.005) == "5 ms"
    assert short_amount("bits", 2.2) == "2.200 bit"


def test_fractions_in_percent_and_points() -> None:
    assert metric_text("accuracy", 0.893) == "89.30 %"
    assert gain_text("accuracy", 0.012) == "+1.20 points"
    assert gain_text("accuracy", -0.012) == "\u22121.20 points"
    assert metric_text("MSE", 0.01234) == "0.01234"
    assert metric_text("R2", -0.5) == "\u22120.5"
    assert not is_fraction("MSE")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (41.6, "42 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7_800, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("spelled", "words"),
    [("f", "float"), ("3", "3 bit"), ("t", "t (ternary, 1.6 bit)"), ("h2", "h2 (half step, 2 bit)"), ("4g64z", "4g64z (uniform, 4 bit)")],
)
def test_formats_in_a_sentence(spelled: str, words: str) -> None:
    assert format_words(NumberFormat.parse(spelled)) == words


def test_formats() -> None:
    assert {text: format_text(NumberFormat.parse(text)) for text in ("f", "3", "t", "h2", "4g64z")} == {
        "f": "float",
        "3": "3",
        "t": "t",
        "h2": "h2",
        "4g64z": "4g64z",
    }
