from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.costs.base import COSTS
from mpsearch.costs.budgets import format_amount, parse_budget, parse_budgets, short_amount


@pytest.mark.parametrize(
    ("text", "cost", "least", "limit"),
    [
        ("1MB..8MB", "size", 1e6, 8e6),
        ("1..8MB", "size", 1e6, 8e6),
        (" 500KB .. 1.5 MB", "size", 5e5, 1.5e6),
        ("act:1KB..8KB", "activation-memory", 1e3, 8e3),
        ("act:1..8KB", "activation-memory", 1e3, 8e3),
        ("2.2..3bit", "bits", 2.2, 3),
    ],
)
def test_reads_a_range(text: str, cost: str, least: float, limit: float) -> None:
    assert parse_budget(text) == Budget(cost, limit, text.strip(), least)


@pytest.mark.parametrize("text", ["8MB..1MB", "2MB..2MB", "1bit..8MB"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match=r"is no range; write two amounts of one cost, the smaller first, such as 1MB\.\.8MB"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["..8MB", "1MB..", "1MB..2MB..3MB", "a..b", ".."])
def test_what_looks_like_a_range_is_refused(text: str) -> None:
    with pytest.raises(BudgetError):
        parse_budget(text)


@pytest.mark.parametrize("texts", [["1MB..8MB", "2MB"], ["2MB", "1MB..8MB"], ["1MB..8MB", "2bit..3bit"]])
def test_a_range_stands_beside_budgets_on_other_costs_only(texts: list[str]) -> None:
    with pytest.raises(BudgetError, match="cannot hold together; give one range, and other budgets on other costs"):
        parse_budgets(texts)
    assert len(parse_budgets(["1MB..8MB", "3bit"])) == 2


@pytest.mark.parametrize(
    ("text", "cost", "limit"),
    [
        ("2MB", "size", 2_000_000),
        ("70KB", "size", 70_000),
        ("1.5MiB", "size", 1_572_864),
        ("1.005MB", "size", 1_005_000),
        ("1,500,000 B", "size", 1_500_000),
        ("80 kib", "size", 81_920),
        ("3.2bit", "bits", 3.2),
        ("2 bits", "bits", 2),
        ("1.2GBOPs", "bops", 1.2e9),
        ("5ms", "latency", 5e-3),
        ("250us", "latency", 2.5e-4),
        ("1e6B", "size", 1e6),
        ("act:64KB", "activation-memory", 64_000),
        ("activation-memory: 1.5 MiB", "activation-memory", 1_572_864),
        ("size:2MB", "size", 2_000_000),
        ("LATENCY:5ms", "latency", 5e-3),
    ],
)
def test_reads_what_people_write(text: str, cost: str, limit: float) -> None:
    assert parse_budget(text) == Budget(cost, limit, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", "has no unit; write act:2KB, 2bit, 2GBOPs, 2ms or 2MB"),
        ("act:64", "has no unit; write act:64B or act:64KB"),
        ("act:64ms", "activation-memory is not counted in 'ms'; its units are B, KB"),
        ("joules:3", "limits the unknown cost 'joules'; costs are activation-memory/act, bits, bops, latency, size"),
        ("act:-2KB", "must be above zero"),
        (":2KB", "cannot be read"),
        ("-2MB", "must be above zero"),
        ("0KB", "must be above zero"),
        ("2 parsecs", "unknown unit 'parsecs'"),
        ("big", "cannot be read"),
        ("", "cannot be read"),
        (2_000_000, "cannot be read"),
        ("nanMB", "cannot be read"),
        ("0", "must be above zero"),
        ("1e309MB", "is too large or too small a number"),
        ("1e-400B", "is too large or too small a number"),
        (f"1e{'9' * 400}MB", "is too large or too small a number"),
        (f"1e-{'9' * 400}MB", "is too large or too small a number"),
    ],
)
def test_says_what_is_wrong_on_one_line(text: object, words: str) -> None:
    with pytest.raises(BudgetError, match=words) as caught:
        parse_budget(text)
    assert "\n" not in str(caught.value)


def test_the_tighter_of_two_on_one_cost_holds() -> None:
    assert [budget.text for budget in parse_budgets(["2MB", "3bit", "70KB"])] == ["70KB", "3bit"]


def test_none_at_all() -> None:
    with pytest.raises(BudgetError, match="no budget given; add --budget"):
        parse_budgets([])


@given(st.integers(1, 10**12))
def test_whole_bytes_stay_whole(number: int) -> None:
    assert parse_budget(f"{number}B").limit == number
    assert parse_budget(f"{number}KB").limit == number * 1000


@pytest.mark.parametrize(
    ("cost", "amount", "text"),
    [
        ("size", 41216, "41,216 B"),
        ("bits", 2.2, "2.200 bit"),
        ("bops", 1.2e9, "1.200 GBOPs"),
        ("bops", 12, "12 BOPs"),
        ("latency", 0.005, "5 ms"),
        ("latency", 9.637e-9, "0.009637 µs"),
        ("other", 2.5, "2.5"),
    ],
)
def test_amounts_as_people_read_them(cost: str, amount: float, text: str) -> None:
    assert format_amount(cost, amount) == text


@pytest.mark.parametrize(
    ("cost", "amount", "text"),
    [
        ("size", 79_872, "79.87 KB"),
        ("size", 999_999.9, "1000 KB"),
        ("size", 12, "12 B"),
        ("activation-memory", 5e6, "5 MB"),
        ("bits", 2.2, "2.200 bit"),
    ],
)
def test_amounts_in_few_digits(cost: str, amount: float, text: str) -> None:
    assert short_amount(cost, amount) == text


def test_an_amount_above_a_budget_never_reads_as_the_budget() -> None:
    assert format_amount("activation-memory", 8000.125) == "8,001 B"


def test_costs_that_share_a_unit_are_told_apart_by_name() -> None:
    other = replace(COSTS["latency"], name="energy-time", aliases=("et",))
    with COSTS.temporarily(other.name, other):
        with pytest.raises(BudgetError, match="budget '5ms' does not say which cost it limits; write et:5ms or latency:5ms"):
            parse_budget("5ms")
        assert [parse_budget(f"{name}:5ms").cost for name in ("et", "energy-time", "latency")] == ["energy-time", "energy-time", "latency"]
    with COSTS.temporarily(other.name, replace(other, prefixed=True)):
        assert parse_budget("5ms").cost == "latency"
