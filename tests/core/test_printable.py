"""What a terminal would obey is spelled out."""

from __future__ import annotations

import pytest

from mpsearch.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer1.0.conv1, é", "layer1.0.conv1, é"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\u202eb", "a\\u202eb"),  # turns the direction of writing
        ("\x9b31m", "\\x9b31m"),  # an escape sequence in one character
        ("\ud800", "\\ud800"),
        ("a\nb", "a\\nb"),
    ],
)
def test_what_a_terminal_obeys_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
