"""The report of the signals' benchmark: a predictor that is the truth has ρ = 1, and `mix` is compared with rivals it can lose to."""

from __future__ import annotations

import re

import numpy as np
import pytest
from signals_report import markdown

from mpsearch.core.choice import Choice
from mpsearch.core.json_data import json_data
from mpsearch.core.table import Table

LAYERS, CHOICES = ("a", "b", "c"), tuple(Choice.parse(f"w{bits}af") for bits in (1, 2, 3, 4))
COST = {"seconds": 1.0, "forwards": 4.0, "backwards": 2.0}


def lines(count: int = 24, fits: int = 12) -> list[dict[str, object]]:
    """`right` is what the allocations lose, `wrong` says nothing of it."""
    draw = np.random.default_rng(0)
    right = draw.uniform(0.5, 4, (3, 1)) * 4.0 ** -np.arange(1, 5)
    tables = {"right": right, "wrong": draw.uniform(0, 1, (3, 4))}
    made: list[dict[str, object]] = [
        {
            "task": "test",
            "budget": "2bit",
            "kind": "signal",
            "name": name,
            "table": json_data(Table(name=name, unit="nats", layers=LAYERS, choices=CHOICES, values=values, cost=COST)),
        }
        for name, values in tables.items()
    ]
    for use, seed, number in (("judge", 0, count), ("fit", 1000, fits)):
        for index in range(number):
            picks = draw.integers(4, size=3)
            loss = float(right[range(3), picks].sum())
            same = {"task": "test", "budget": "2bit", "use": use, "seed": seed, "index": index, "bits": [str(CHOICES[p]) for p in picks]}
            made.append({**same, "kind": "calibrated", "divergence": loss, "loss": loss, "seconds": 1.0, "forwards": 3.0})
    return made


def test_the_truth_as_a_signal_has_full_correlation_and_nothing_is_behind_it() -> None:
    text = markdown(lines())
    assert re.search(r"\| `right` \| 1\.00 ± 0\.00 \| 8 \| 1\.0 \|", text)
    assert "24 at 2bit after calibration" in text
    assert "short training" not in text
    (halves,) = re.findall(r"one half of these .*: 2bit, calibration: (.\d\.\d\d) \(mostly `right`\)", text)
    assert float(halves.replace("\u2212", "-")) == pytest.approx(0, abs=0.05)
    assert "known only afterwards: 2bit, calibration: " in text


def test_without_measurements_to_fit_to_there_is_no_mix() -> None:
    text = markdown(lines(fits=0))
    assert "mix" not in text
    assert "`wrong`" in text


def test_too_few_allocations_give_no_column() -> None:
    assert "after calibration |" not in markdown(lines(count=9))
