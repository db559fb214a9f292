"""Batches as data loaders and models pass them around: dicts, tuples and lists of tensors, nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["leaves", "mapped"]


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same dicts, tuples and lists with everything inside them changed."""
    if isinstance(value, dict):
        return {name: mapped(item, change) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(mapped(item, change) for item in value)
    return change(value)


def leaves(value: Any) -> Iterator[Any]:
    """Everything inside the dicts, tuples and lists, in order."""
    if isinstance(value, dict | tuple | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value
