from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.budget import Budget, format_amount, parse_budget, parse_budgets
from mpsearch.core.errors import BudgetError


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
    ],
)
def test_reads_what_people_write(text: str, cost: str, limit: float) -> None:
    assert parse_budget(text) == Budget(cost, limit, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", "has no unit; write 2KB, 2MB"),
        ("-2MB", "must be above zero"),
        ("0KB", "must be above zero"),
        ("2 parsecs", "unknown unit 'parsecs'"),
        ("big", "cannot be read"),
        ("", "cannot be read"),
        (2_000_000, "cannot be read"),
        ("nanMB", "cannot be read"),
        ("0", "must be above zero"),
        ("1e309MB", "no amount a computer can hold"),
        ("1e-400B", "no amount a computer can hold"),
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
