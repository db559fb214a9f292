"""One line for the bits of a trial, which any allocation survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.study.bits_text import bits_text, read_bits

CHOICES = [Choice.parse(text) for text in ("w4a8", "w2af", "wta8", "w4g64a8", "wfaf")]


@given(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=40))
def test_every_allocation_is_read_back(choices: list[Choice]) -> None:
    names = [f"layer{index}" for index in range(len(choices))]
    allocation = Allocation(dict(zip(names, choices, strict=True)))
    assert read_bits(bits_text(allocation), names) == allocation


def test_equal_choices_in_a_row_are_written_once() -> None:
    names = [f"l{index}" for index in range(200)]
    text = bits_text(Allocation({name: CHOICES[index >= 198] for index, name in enumerate(names)}))
    assert text == "w4a8*198 w2af*2"


@pytest.mark.parametrize(
    "wrong", ["", "w4a8", "w4a8*3", "w4a8*-2", "w4a8*99999999999999999999", "w4a8 w4a8 w4a8", "w4a8  w4a8", "x w4a8", "w4a8*2*1", 7, None]
)
def test_what_is_not_of_two_layers_is_one_line(wrong: object) -> None:
    with pytest.raises(ConfigError) as caught:
        read_bits(wrong, ["a", "b"])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
