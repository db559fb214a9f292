"""`as_plain`: results as data that JSON holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat

__all__ = ["as_plain"]


def as_plain(value: Any) -> Any:
    """Dataclasses become dicts in the order of their fields, choices and formats their spelling, arrays lists in which NaN is null."""
    match value:
        case Choice() | NumberFormat():
            return str(value)
        case Mapping():
            return {name: as_plain(item) for name, item in value.items()}
        case tuple() | list():
            return [as_plain(item) for item in value]
        case np.ndarray():
            return [[None if math.isnan(number) else number for number in row] for row in value.tolist()]
        case _ if is_dataclass(value):
            return {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
    return value
