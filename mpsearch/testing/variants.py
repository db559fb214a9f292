"""`variants`: the settings under which a method computes something else, read off its own fields."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mpsearch.methods.base import Method

__all__ = ["variants"]

M = TypeVar("M", bound=Method)


def variants(method: type[M]) -> dict[str, M]:
    """Instances of a method: the default one, and one for each further value of each `bool` and `Literal` field.

    The weight grid is left out, since `MethodContract` runs over grids itself.

    Args:
        method: registered class.

    Returns:
        Label such as `"default"` or `"snap=True"` → instance.
    """
    hints = get_type_hints(method)
    found = {"default": method()}
    for field in dataclasses.fields(method):
        if field.name == "grid":
            continue
        for value in _values(hints[field.name]):
            if value != field.default:
                changed: dict[str, Any] = {field.name: value}
                found[f"{field.name}={value}"] = method(**changed)
    return found


def _values(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (False, True)
    return get_args(annotation) if get_origin(annotation) is Literal else ()
