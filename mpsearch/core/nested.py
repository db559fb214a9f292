"""Batches and outputs as loaders and models pass them around: dicts, tuples, lists and dataclasses of tensors, nested."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["leaves", "mapped", "zipped"]


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with everything inside it changed; named tuples, subclasses of dict and dataclasses keep their type."""
    if not _holds(value):
        return change(value)
    return _rebuilt(value, [mapped(item, change) for item in _items(value)])


def leaves(value: Any) -> Iterator[Any]:
    """Everything inside the structure, in order."""
    if not _holds(value):
        yield value
        return
    for item in _items(value):
        yield from leaves(item)


def zipped(values: list[Any], merge: Callable[[list[Any]], Any]) -> Any:
    """One structure from several of the same kind: each place holds `merge` of what the given ones hold there.

    Raises:
        ValueError: the structures differ.
    """
    first = values[0]
    if not _holds(first):
        return merge(values)
    if any(type(value) is not type(first) for value in values):
        raise ValueError(f"{type(first).__name__} beside {', '.join(sorted({type(value).__name__ for value in values[1:]}))}")
    if isinstance(first, dict) and any(list(value) != list(first) for value in values):
        raise ValueError(f"dicts of {' and of '.join(sorted({', '.join(map(str, value)) for value in values}))}")
    return _rebuilt(first, [zipped(list(items), merge) for items in zip(*map(_items, values), strict=True)])


def _holds(value: Any) -> bool:
    return isinstance(value, dict | tuple | list) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, tuple | list):
        return list(value)
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def _rebuilt(value: Any, items: list[Any]) -> Any:
    if type(value) in (tuple, list):
        return type(value)(items)
    if isinstance(value, tuple):
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    # A copy that is filled again, since the constructors of subclasses take all kinds of arguments.
    other = copy.copy(value)
    if isinstance(value, dict):
        for name, item in zip(value, items, strict=True):
            other[name] = item  # not `update`, which subclasses need not do by `__setitem__`
    elif isinstance(value, list):
        other[:] = items
    else:
        for field, item in zip(dataclasses.fields(value), items, strict=True):
            object.__setattr__(other, field.name, item)  # also if it is frozen
    return other
