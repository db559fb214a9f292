"""How much of the float metric to keep, as people write it."""

from __future__ import annotations

import pytest

from mpsearch.config.keep import KeepConfig, parse_share
from mpsearch.config.load import load_study
from mpsearch.core.errors import BudgetError, ConfigError


@pytest.mark.parametrize(("text", "share"), [("99%", 0.99), ("0.99", 0.99), (" 99.5 % ", 0.995), (1, 1.0), (0.9, 0.9)])
def test_a_share(text: object, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "99 percent", "0", "101%", "-1", float("nan"), float("inf"), True, None, [1]])
def test_what_is_no_share_is_one_line(text: object) -> None:
    with pytest.raises(ConfigError, match=r"is no share of the float metric; give one such as 99% or 0\.99"):
        parse_share(text)


def test_a_study_says_it_in_short_or_in_full() -> None:
    short = load_study("digits_resnet18", {"keep": "99%"})
    full = load_study("digits_resnet18", {"keep": {"share": 0.99, "cost": "size"}})
    assert short.keep == full.keep == KeepConfig(share=0.99)
    assert short.run_name == "digits_resnet18-2MB-keep99pct"
    assert load_study("digits_resnet18", {"keep": {"drop": 0.5}, "budgets": []}).run_name == "digits_resnet18-keepatmost0.5less"


def test_it_needs_no_budget_and_a_range_contradicts_it() -> None:
    assert load_study("digits_resnet18", {"keep": "99%", "budgets": []}).limits == ()
    with pytest.raises(BudgetError, match=r"budget 1MB\.\.8MB asks for a front, and keep 99% for one network"):
        _ = load_study("digits_resnet18", {"keep": "99%", "budgets": ["1MB..8MB"]}).limits


@pytest.mark.parametrize("given", [{"share": 0.9, "drop": 1}, {}, {"drop": -1}, {"share": 0.9, "cots": "size"}])
def test_what_contradicts_itself_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="keep"):
        load_study("digits_resnet18", {"keep": given})


def test_studies_without_it_are_the_same_as_before() -> None:
    """The fingerprint ties runs to their folders."""
    study = load_study("digits_resnet18")
    assert study.fingerprint() != load_study("digits_resnet18", {"keep": "99%"}).fingerprint()
    assert "keep" in study.to_dict()
