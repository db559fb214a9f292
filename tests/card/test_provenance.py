"""Checks that fail, and warnings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import mpsearch
from mpsearch.card.provenance import provenance
from mpsearch.card.sections import ResultSection
from mpsearch.report.info import delivery_lines
from tests.card.cards import make_card


def filled(result: mpsearch.Result, *, mean: Any = 0.5, **overlap: Any) -> tuple[list[str], list[str]]:
    card = make_card()
    use = {name: {**entry, "overlap_with_test": overlap.get(name, 0)} for name, entry in card.data.use.items()}
    scored: ResultSection = replace(card.result, mean=mean)
    made = provenance(result.summary, replace(card.data, use=use), scored)
    assert made.command == result.summary.command
    return made.failed_checks, made.warnings


def test_test_samples_in_any_stage_fail_the_card(result: mpsearch.Result) -> None:
    assert filled(result)[0] == []
    assert filled(result, search=1200)[0] == ["search: 1,200 samples of the test split (by index)"]


def test_a_result_that_is_no_number_fails_the_card(result: mpsearch.Result) -> None:
    for mean in (math.nan, math.inf, "n/a: no result"):
        assert filled(result, mean=mean)[0] == ["the result is not a finite number"]


def test_what_is_not_known_is_a_warning(result: mpsearch.Result) -> None:
    said = [*delivery_lines(result.summary), *result.summary.skipped]
    assert filled(result)[1] == said
    unknown = filled(result, selection="n/a: could not be known", test="n/a")[1]
    assert unknown == [*said, "It is not known whether these stages saw the test split: selection."]
