"""Durations such as `300`, `90s`, `5min` or `2h`."""

from __future__ import annotations

import re

from mpsearch.core.errors import ConfigError

__all__ = ["parse_duration"]

_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_AMOUNT = re.compile(r"\s*(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[a-z]*)\s*", re.IGNORECASE)


def parse_duration(text: object, *, path: str = "duration") -> float:
    """Parse a duration; returns seconds.

    Args:
        text: a number of seconds, or text with a number and a unit.
        path: key to name in an error message.

    Raises:
        ConfigError: the text has no number or an unknown unit, or the duration is not above zero.
    """
    match = _AMOUNT.fullmatch(str(text)) if isinstance(text, str | int | float) and not isinstance(text, bool) else None
    if match is None or match["unit"].lower() not in _UNITS or not float(match["number"]) > 0:
        raise ConfigError(f"{path}: {text!r} cannot be read; write seconds above zero, or a number and a unit: 90s, 5min, 2h", path=path)
    return float(match["number"]) * _UNITS[match["unit"].lower()]
