"""`checked`: JSON data, which may come from a stranger, as a value of a declared type; the inverse of `json_data`.

The annotations of a dataclass are the rules: every value has the type that its field declares, and none is longer than a real run makes
it.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat

__all__ = ["Long", "checked"]

T = TypeVar("T")
Check = Callable[[Any], Any]

Long = Annotated[str, 100_000]
"""A text that may be long: a command line, the message of an error."""

_LONGEST = 1_000
"""Characters of a name."""
_MOST = 50_000
"""Entries of a list or a mapping."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_LARGEST = 1e100
"""Of every finite number: sums and squares of such numbers are finite."""


def checked(kind: type[T], given: Any) -> T:
    """JSON data as a value of a type.

    Args:
        kind: a dataclass.
        given: what JSON holds.

    Raises:
        ConfigError: a value has another type than its field declares, or is too long or too large; the message names its place.
    """
    value: T = _check(cast(Any, kind))(given)
    return value


@cache
def _check(kind: Any) -> Check:
    """The function that turns JSON data into a value of a type."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _CHECKS:
        return _CHECKS[kind]
    if is_dataclass(kind):
        return _dataclass(kind)
    if origin is tuple:
        return _sequence(_check(inner[0]), None if inner[1:] == (...,) else len(inner))
    if origin is Mapping:
        return _mapping(_check(inner[1]))
    if origin in (Union, types.UnionType):
        (other,) = (_check(option) for option in inner if option is not type(None))
        return lambda given: None if given is None else other(given)
    if origin is np.ndarray:
        return _array
    raise TypeError(f"nothing here reads a value of the type {kind}")


def _dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    checks = {field.name: _check(hints[field.name]) for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def check(given: Any) -> Any:
        if not isinstance(given, dict):
            raise _wrong("must be a mapping", given)
        if not needed <= given.keys() <= checks.keys():
            missing, unknown = sorted(needed - given.keys()), sorted(map(str, given.keys() - checks.keys()))
            raise ConfigError(f"has no {missing[0]}" if missing else f"has the unknown key {_brief(unknown[0])}")
        return kind(**{name: _within(name, checks[name], value) for name, value in given.items()})

    return check


def _sequence(item: Check, length: int | None = None) -> Check:
    def check(given: Any) -> Any:
        if not isinstance(given, list | tuple) or len(given) > _MOST or length not in (None, len(given)):
            raise _wrong(f"must be a list of {f'at most {_MOST:,}' if length is None else length} entries", given)
        return tuple(_within(index, item, value) for index, value in enumerate(given))

    return check


def _mapping(item: Check) -> Check:
    def check(given: Any) -> Any:
        if not isinstance(given, dict) or len(given) > _MOST:
            raise _wrong(f"must be a mapping of at most {_MOST:,} entries", given)
        return {_name(key): _within(key, item, value) for key, value in given.items()}

    return check


def _within(place: object, check: Check, given: Any) -> Any:
    """A value, or an error that names its place."""
    try:
        return check(given)
    except ConfigError as error:
        raise ConfigError(f"{_brief(place) if isinstance(place, str) and not place.isidentifier() else place}: {error}") from None


def _text(longest: int) -> Check:
    def check(given: Any) -> Any:
        if not isinstance(given, str) or len(given) > longest:
            raise _wrong(f"must be a text of at most {longest:,} characters", given)
        if not given.isascii() and _SURROGATES.search(given):
            raise _wrong("must not hold half a surrogate pair, which is no character", given)
        return given

    return check


def _number(given: Any) -> float:
    """A measurement may be infinite or no number."""
    if isinstance(given, bool) or not isinstance(given, int | float) or _LARGEST < abs(given) < math.inf:
        raise _wrong(f"must be a number of at most {_LARGEST:g}", given)
    return given


def _whole(given: Any) -> int:
    if type(given) is not int or abs(given) >= 2**64:
        raise _wrong("must be a whole number below 2^64", given)
    return given


def _switch(given: Any) -> bool:
    if not isinstance(given, bool):
        raise _wrong("must be true or false", given)
    return given


def _array(given: Any) -> Any:
    """Rows of numbers; null becomes NaN."""
    rows = _rows(given)
    if len({len(row) for row in rows}) > 1:
        raise ConfigError("must have rows of equal length")
    return np.array(rows, dtype=np.float64)


def _cell(given: Any) -> float:
    return math.nan if given is None else _number(given)


def _allocation(given: Any) -> Allocation:
    return Allocation(_choices(given))


@lru_cache(maxsize=4096, typed=True)
def _parsed_choice(given: str | int) -> Choice:
    return Choice.parse(given)


def _choice(given: Any) -> Choice:
    return _parsed_choice(_spelling(given))


def _format(given: Any) -> NumberFormat:
    return NumberFormat.parse(_spelling(given))


def _spelling(given: Any) -> str | int:
    """A format or a choice; a whole number stands for uniform bits."""
    spelled: str | int = _whole(given) if type(given) is int else _name(given)
    return spelled


def _wrong(rule: str, given: Any) -> ConfigError:
    return ConfigError(f"{rule}, not {_brief(given)}")


def _brief(given: Any) -> str:
    """A value in a few characters, whatever its size."""
    match given:
        case str():
            return ascii(given if len(given) <= 60 else f"{given[:60]}…")
        case int() if abs(given) >= 2**64:
            return f"a number of {given.bit_length():,} bits"
        case list() | tuple() | dict():
            return f"{'a mapping' if isinstance(given, dict) else 'a list'} of {len(given):,} entries"
    return repr(given)


_name = _text(_LONGEST)
_rows = _sequence(_sequence(_cell))
_choices = _mapping(_choice)
_CHECKS: dict[Any, Check] = {
    Any: lambda given: given,
    str: _name,
    Long: _text(get_args(Long)[1]),
    float: _number,
    int: _whole,
    bool: _switch,
    Allocation: _allocation,
    Choice: _choice,
    NumberFormat: _format,
}
