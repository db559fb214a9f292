"""`checked`: plain data, which may come from a stranger, as a value of a declared type; the inverse of `as_plain`.

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


def checked(kind: type[T], plain: Any) -> T:
    """Plain data as a value of a type.

    Args:
        kind: a dataclass.
        plain: what JSON holds.

    Raises:
        ConfigError: a value has another type than its field declares, or is too long or too large; the message names its place.
    """
    value: T = _check(cast(Any, kind))(plain)
    return value


@cache
def _check(kind: Any) -> Check:
    """The function that turns plain data into a value of a type."""
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
        return lambda plain: None if plain is None else other(plain)
    if origin is np.ndarray:
        return _array
    raise TypeError(f"nothing here reads a value of the type {kind}")


def _dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    checks = {field.name: _check(hints[field.name]) for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def check(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _wrong("must be a mapping", plain)
        if not needed <= plain.keys() <= checks.keys():
            missing, unknown = sorted(needed - plain.keys()), sorted(map(str, plain.keys() - checks.keys()))
            raise ConfigError(f"has no {missing[0]}" if missing else f"has the unknown key {_brief(unknown[0])}")
        return kind(**{name: _within(name, checks[name], value) for name, value in plain.items()})

    return check


def _sequence(item: Check, length: int | None = None) -> Check:
    def check(plain: Any) -> Any:
        if not isinstance(plain, list | tuple) or len(plain) > _MOST or length not in (None, len(plain)):
            raise _wrong(f"must be a list of {f'at most {_MOST:,}' if length is None else length} entries", plain)
        return tuple(_within(index, item, value) for index, value in enumerate(plain))

    return check


def _mapping(item: Check) -> Check:
    def check(plain: Any) -> Any:
        if not isinstance(plain, dict) or len(plain) > _MOST:
            raise _wrong(f"must be a mapping of at most {_MOST:,} entries", plain)
        return {_name(key): _within(key, item, value) for key, value in plain.items()}

    return check


def _within(place: object, check: Check, plain: Any) -> Any:
    """A value, or an error that names its place."""
    try:
        return check(plain)
    except ConfigError as error:
        raise ConfigError(f"{_brief(place) if isinstance(place, str) and not place.isidentifier() else place}: {error}") from None


def _text(longest: int) -> Check:
    def check(plain: Any) -> Any:
        if not isinstance(plain, str) or len(plain) > longest:
            raise _wrong(f"must be a text of at most {longest:,} characters", plain)
        if not plain.isascii() and _SURROGATES.search(plain):
            raise _wrong("must not hold half a surrogate pair, which is no character", plain)
        return plain

    return check


def _number(plain: Any) -> float:
    """A measurement may be infinite or no number."""
    if isinstance(plain, bool) or not isinstance(plain, int | float) or _LARGEST < abs(plain) < math.inf:
        raise _wrong(f"must be a number of at most {_LARGEST:g}", plain)
    return plain


def _whole(plain: Any) -> int:
    if type(plain) is not int or abs(plain) >= 2**64:
        raise _wrong("must be a whole number below 2^64", plain)
    return plain


def _switch(plain: Any) -> bool:
    if not isinstance(plain, bool):
        raise _wrong("must be true or false", plain)
    return plain


def _array(plain: Any) -> Any:
    """Rows of numbers; null becomes NaN."""
    rows = _rows(plain)
    if len({len(row) for row in rows}) > 1:
        raise ConfigError("must have rows of equal length")
    return np.array(rows, dtype=np.float64)


def _cell(plain: Any) -> float:
    return math.nan if plain is None else _number(plain)


def _allocation(plain: Any) -> Allocation:
    return Allocation(_choices(plain))


@lru_cache(maxsize=4096, typed=True)
def _parsed_choice(plain: str | int) -> Choice:
    return Choice.parse(plain)


def _choice(plain: Any) -> Choice:
    return _parsed_choice(_spelling(plain))


def _format(plain: Any) -> NumberFormat:
    return NumberFormat.parse(_spelling(plain))


def _spelling(plain: Any) -> str | int:
    """A format or a choice; a whole number stands for uniform bits."""
    spelled: str | int = _whole(plain) if type(plain) is int else _name(plain)
    return spelled


def _wrong(rule: str, plain: Any) -> ConfigError:
    return ConfigError(f"{rule}, not {_brief(plain)}")


def _brief(plain: Any) -> str:
    """A value in a few characters, whatever its size."""
    match plain:
        case str():
            return ascii(plain if len(plain) <= 60 else f"{plain[:60]}…")
        case int() if abs(plain) >= 2**64:
            return f"a number of {plain.bit_length():,} bits"
        case list() | tuple() | dict():
            return f"{'a mapping' if isinstance(plain, dict) else 'a list'} of {len(plain):,} entries"
    return repr(plain)


_name = _text(_LONGEST)
_rows = _sequence(_sequence(_cell))
_choices = _mapping(_choice)
_CHECKS: dict[Any, Check] = {
    Any: lambda plain: plain,
    str: _name,
    Long: _text(get_args(Long)[1]),
    float: _number,
    int: _whole,
    bool: _switch,
    Allocation: _allocation,
    Choice: _choice,
    NumberFormat: _format,
}
