"""Formats are spelled, read, ordered and compared; what no format is gets one clear line."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat, as_format
from tests.core.formats import FORMATS

SPELLED = {
    "1": NumberFormat("uniform", 1),
    "4": NumberFormat("uniform", 4),
    "8s": NumberFormat("uniform", 8, "tensor"),
    "4g64": NumberFormat("uniform", 4, 64),
    "4z": NumberFormat("uniform", 4, zero_point=True),
    "4sz": NumberFormat("uniform", 4, "tensor", True),
    "4g128z": NumberFormat("uniform", 4, 128, True),
    "h1": NumberFormat("half_step", 1),
    "h4g32": NumberFormat("half_step", 4, 32),
    "t": NumberFormat("ternary", 2),
    "ts": NumberFormat("ternary", 2, "tensor"),
    "tg32": NumberFormat("ternary", 2, 32),
    "p4": NumberFormat("power_of_two", 4),
    "p2g128": NumberFormat("power_of_two", 2, 128),
    "m2": NumberFormat("multibit", 2),
    "f": FLOAT,
}


formats = st.sampled_from(FORMATS)


def test_how_many_there_are() -> None:
    """Uniform: 8 widths by 5 granularities, and with a zero point 7 by 5; half-step and powers of two 40 each; ternary 5; multibit 8."""
    assert len(FORMATS) == len(set(FORMATS)) == 1 + (40 + 35) + 40 + 40 + 5 + 8


@pytest.mark.parametrize("text", SPELLED)
def test_spellings_by_hand(text: str) -> None:
    assert str(SPELLED[text]) == text
    assert NumberFormat.parse(text) == SPELLED[text]


@given(formats)
def test_what_is_spelled_is_read_again(format: NumberFormat) -> None:
    assert NumberFormat.parse(str(format)) == format
    assert eval(repr(format)) == format


def test_no_two_are_spelled_alike() -> None:
    assert len({str(format) for format in FORMATS}) == len(FORMATS)


@given(st.text(alphabet="whtpmfgsz0123468 -", max_size=6))
def test_what_is_read_is_a_format_or_refused(text: str) -> None:
    try:
        format = NumberFormat.parse(text, path="menu.0")
    except ConfigError as refused:
        error = refused
    else:
        assert format in FORMATS
        return
    assert error.path == "menu.0"
    assert str(error).startswith("menu.0: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize(("given", "spelled"), [(4, "4"), (1, "1"), (32, "f"), ("32", "f"), ("float", "f"), ("f", "f"), ("t2", "t")])
def test_other_words_for_the_same(given: object, spelled: str) -> None:
    assert str(NumberFormat.parse(given)) == spelled


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("0", "uniform numbers have 1 to 8 bits, not 0, got '0'"),
        (9, "uniform numbers have 1 to 8 bits, not 9, got '9'"),
        (33, "uniform numbers have 1 to 8 bits, not 33, got '33'"),
        ("m9", "multibit numbers have 1 to 8 bits, not 9, got 'm9'"),
        ("t3", "ternary numbers have 2 bits, not 3, got 't3'"),
        ("4g48", "a group has 32, 64, 128 values, not 48, got '4g48'"),
        ("m2g64", "multibit numbers have one scale per output channel only, got 'm2g64'"),
        ("m2s", "multibit numbers have one scale per output channel only, got 'm2s'"),
        ("1z", "a zero point needs 2 bits or more"),
        ("p4z", "power_of_two numbers have no zero point"),
        ("h4z", "half_step numbers have no zero point"),
        ("tz", "ternary numbers have no zero point"),
        *((wrong, "is no number format; write one like 4, h4, m4, p4, t, 4g64, 4z or float") for wrong in ("", "x4", "u4", "h", "p", "m")),
        *((wrong, "is no number format") for wrong in ("4x", "fz", "f8", "F", "4g64s", "4z ", " 4", "4\n", "-1", "4.5", "w4", "w4a8")),
        *((wrong, "is no number format") for wrong in (None, True, False, 4.5, 4.0, -1, ["4"], b"4")),
    ],
)
def test_what_is_no_format(given: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        NumberFormat.parse(given, path="space.weights.0")
    assert str(caught.value).startswith("space.weights.0: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value).replace(repr("4\n"), "")
    assert caught.value.path == "space.weights.0"


def test_a_kind_that_nobody_registered() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown kind of number 'posit'; known: half_step, multibit, power_of_two, ternary, uniform"
    ):
        NumberFormat("posit", 8)


def test_a_whole_number_is_uniform_bits() -> None:
    assert [as_format(bits) for bits in (1, 8)] == [NumberFormat("uniform", 1), NumberFormat("uniform", 8)]
    assert as_format(32) is FLOAT
    assert as_format(SPELLED["t"]) is SPELLED["t"]
    for wrong in (0, 9, 16, -1):
        with pytest.raises(ConfigError, match=f"uniform numbers have 1 to 8 bits, not {wrong}$"):
            as_format(wrong)


def test_what_a_format_says_of_itself() -> None:
    assert (FLOAT.is_float, FLOAT.bits, FLOAT.bits_per_value, FLOAT_BITS) == (True, 32, 32.0, 32)
    assert [format for format in FORMATS if format.is_float] == [FLOAT]
    assert {format.kind for format in FORMATS if format.evenly_spaced} == {"uniform", "half_step", "ternary"}
    assert SPELLED["t"].bits_per_value == 1.6
    assert all(format.bits_per_value == format.bits for format in FORMATS if format.kind != "ternary")


def test_order_is_that_of_the_bits_of_a_value() -> None:
    written = ["1", "h1", "t", "2", "h2", "m2", "p2", "3", "8", "f"]
    assert [str(format) for format in sorted(NumberFormat.parse(text) for text in reversed(written))] == written
    assert NumberFormat.parse("3") < FLOAT >= NumberFormat.parse("8")


@given(formats, formats, formats)
def test_order_is_total(a: NumberFormat, b: NumberFormat, c: NumberFormat) -> None:
    assert [a < b, a == b, b < a].count(True) == 1
    assert (a <= b) == (not b < a)
    if a < b:
        assert a.bits_per_value <= b.bits_per_value
        if b < c:
            assert a < c


@given(formats, formats)
def test_equal_formats_are_one_key(a: NumberFormat, b: NumberFormat) -> None:
    again = NumberFormat(a.kind, a.bits, a.granularity, a.zero_point)
    assert hash(again) == hash(a)
    assert {a: 1}[again] == 1
    assert len({a, b}) == (1 if str(a) == str(b) else 2)


@pytest.mark.parametrize(
    ("above", "below", "holds"),
    [
        ("4", "4", True),
        ("4", "2", True),
        ("2", "4", False),
        ("f", "8", True),
        ("f", "t", True),
        ("f", "f", True),
        ("8", "f", False),
        ("8", "h2", False),
        ("2", "t", False),
        ("t", "t", True),
        ("m4", "m2", True),
        ("8g64", "4g64", True),
        ("8", "4g64", False),
        ("8z", "4", False),
    ],
)
def test_at_least(above: str, below: str, holds: bool) -> None:
    assert NumberFormat.parse(above).at_least(NumberFormat.parse(below)) == holds


@given(formats, formats)
def test_at_least_orders_a_family_by_its_bits(a: NumberFormat, b: NumberFormat) -> None:
    if a.family == b.family:
        assert a.at_least(b) == (b <= a)
    if a.at_least(b) and b.at_least(a):
        assert a == b


def test_formats_are_read_without_torch() -> None:
    program = (
        "import sys\n"
        "from mpsearch.core.choice import Choice\n"
        "from mpsearch.core.number_format import NumberFormat\n"
        "from mpsearch.core.space import Space\n"
        "formats = [NumberFormat.parse(text) for text in ('4', 'h2', 't', 'p4', 'm2', '4g64z', 'f')]\n"
        "sizes = [format.code_bytes(10, 33) for format in formats[:5]]\n"
        "print(Choice.parse('wta8'), sizes, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "wta8 [165, 83, 66, 165, 88] False\n"


@pytest.mark.parametrize("text", ["9" * 5001, "4g" + "9" * 5001, f"p{'1' * 5000}"], ids=["bits", "group", "power of two"])
def test_a_number_of_thousands_of_digits_is_one_short_line(text: str) -> None:
    with pytest.raises(ConfigError, match="is no number format") as refused:
        NumberFormat.parse(text)
    assert len(str(refused.value)) < 200
