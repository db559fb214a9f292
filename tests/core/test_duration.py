"""Durations as people write them."""

from __future__ import annotations

import pytest

from mpsearch.core.duration import parse_duration
from mpsearch.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("300", 300), (300, 300), (1.5, 1.5), ("90s", 90), ("5min", 300), ("5 MIN", 300), ("0.5h", 1800)]
)
def test_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5", "5 parsecs", True, None, "nan", float("nan"), float("inf")])
def test_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="write seconds above zero"):
        parse_duration(text)
