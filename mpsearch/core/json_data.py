"""`json_data`: results as data that JSON holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat

__all__ = ["json_data"]


def json_data(value: Any) -> Any:
    """Dataclasses become dicts in the order of their fields, choices and formats their spelling, arrays lists in which NaN is null."""
    match value:
        case Choice() | NumberFormat():
            return str(value)
        case Mapping():
            return {name: json_data(item) for name, item in value.items()}
        case tuple() | list():
            return [json_data(item) for item in value]
        case np.ndarray():
            return [[None if math.isnan(number) else number for number in row] for row in value.tolist()]
        case _ if is_dataclass(value):
            return {field.name: json_data(getattr(value, field.name)) for field in fields(value)}
    return value
