"""A choice is spelled, read and ordered by its two formats; an activation takes few of them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT, NumberFormat
from tests.core.formats import FORMATS

ACTIVATIONS = [*(NumberFormat(kind, bits) for kind in ("uniform", "power_of_two") for bits in range(2, 9)), FLOAT]
choices = st.builds(Choice, st.sampled_from(FORMATS), st.sampled_from(ACTIVATIONS))

SPELLED = {
    "w4a8": Choice(4, 8),
    "w2af": Choice(2),
    "wfaf": Choice(32),
    "wfa8": Choice(FLOAT, 8),
    "wta8": Choice(NumberFormat("ternary", 2), 8),
    "wh2af": Choice(NumberFormat("half_step", 2)),
    "wm2a4": Choice(NumberFormat("multibit", 2), 4),
    "wp4ap4": Choice(NumberFormat("power_of_two", 4), NumberFormat("power_of_two", 4)),
    "w4g64za8": Choice(NumberFormat("uniform", 4, 64, True), 8),
}


@pytest.mark.parametrize("text", SPELLED)
def test_spellings_by_hand(text: str) -> None:
    assert str(SPELLED[text]) == text
    assert Choice.parse(text) == SPELLED[text]


def test_a_whole_number_is_a_weight_with_a_float_input() -> None:
    assert Choice.parse(4) == Choice(4) == Choice(NumberFormat("uniform", 4), FLOAT)
    assert Choice.parse(32) == Choice(FLOAT)


@given(choices)
def test_what_is_spelled_is_read_again(choice: Choice) -> None:
    assert Choice.parse(str(choice)) == choice
    assert eval(repr(choice)) == choice
    assert hash(Choice.parse(str(choice))) == hash(choice)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("w0a8", "uniform numbers have 1 to 8 bits, not 0"),
        ("w9a8", "uniform numbers have 1 to 8 bits, not 9"),
        ("wt3af", "ternary numbers have 2 bits, not 3"),
        ("w4a1", "activations have 2 to 8 bits or float, not 1"),
        ("w4ap1", "activations have 2 to 8 bits or float, not 1"),
        ("w4a9", "uniform numbers have 1 to 8 bits, not 9"),
        ("w4a8 ", "'8 ' is no number format"),
        ("wx4af", "'x4' is no number format"),
        *((text, f"a choice is spelled like w4a8, w2af or wta8 .*, not {text!r}") for text in ("4", "w4", "", "a8", "wa8", "w4a", "W4A8")),
        *((text, "a choice is spelled like w4a8") for text in (None, True, 4.5, ["w4a8"])),
        (9, "uniform numbers have 1 to 8 bits, not 9"),
        (0, "uniform numbers have 1 to 8 bits, not 0"),
    ],
)
def test_what_is_no_choice(text: object, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^w\.x: {words}") as caught:
        Choice.parse(text, path="w.x")
    assert caught.value.path == "w.x"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["h4", "t", "m4", "4s", "4g64", "4z", "p4s"])
def test_formats_that_no_activation_has(text: str) -> None:
    bits = NumberFormat.parse(text)
    with pytest.raises(ConfigError, match=f"activations are uniform or powers of two with one scale per tensor, not '{text}'"):
        Choice(4, bits)
    assert Choice(bits).weight is bits


@given(st.sampled_from(FORMATS))
def test_an_activation_takes_just_these(format: NumberFormat) -> None:
    try:
        taken = Choice(4, format).activation == format
    except ConfigError:
        taken = False
    assert taken == (format in ACTIVATIONS)


def test_order_is_by_weight_then_activation() -> None:
    written = ["w1a2", "w1af", "wtaf", "w2a2", "w2a4", "w2ap4", "w2af", "wm2a2", "w8a2", "wfa2", "wfaf"]
    assert [str(choice) for choice in sorted(Choice.parse(text) for text in reversed(written))] == written


@given(choices, choices)
def test_equal_choices_are_one_key_and_the_order_agrees(a: Choice, b: Choice) -> None:
    assert [a < b, a == b, b < a].count(True) == 1
    assert len({a, b}) == (1 if str(a) == str(b) else 2)
    assert (a < b) == ((a.weight, a.activation) < (b.weight, b.activation))


@pytest.mark.parametrize(
    ("above", "below", "holds"),
    [
        ("w4a8", "w4a8", True),
        ("w4a8", "w2a8", True),
        ("w4af", "w4a8", True),
        ("w4a8", "w2af", False),
        ("w8a4", "w4a8", False),
        ("wfaf", "wta8", True),
        ("w8a8", "wta8", False),
        ("wm4ap8", "wm2ap4", True),
        ("w4a8", "w4ap4", False),
    ],
)
def test_at_least_asks_for_both(above: str, below: str, holds: bool) -> None:
    assert Choice.parse(above).at_least(Choice.parse(below)) == holds


def test_a_choice_of_another_process_is_found_here() -> None:
    """Each process hashes strings in its own way."""
    make = "import pickle, sys; from mpsearch.core.choice import Choice; sys.stdout.buffer.write(pickle.dumps(Choice.parse('wta4')))"
    sent = subprocess.run([sys.executable, "-c", make], env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, check=True).stdout
    received = pickle.loads(sent)
    assert {Choice.parse("wta4"): 1}[received] == 1
    assert {received.weight: 1}[Choice.parse("wta4").weight] == 1


def test_the_bits_of_both_are_at_hand() -> None:
    assert (Choice.parse("w4a8").weight_bits, Choice.parse("w4a8").act_bits) == (4, 8)
    assert (Choice.parse("wtaf").weight_bits, Choice.parse("wtaf").act_bits) == (2, 32)
