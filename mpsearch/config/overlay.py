"""Merging changes into a configuration: efforts into a study, the command line into both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpsearch.core.errors import ConfigError

__all__ = ["overlay", "replaced"]


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top: mappings merge key by key, anything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = overlay(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def replaced(base: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`base` with the key at a dotted path set to `value`; missing mappings on the way are created.

    Raises:
        ConfigError: a part of the path is empty.
    """
    first, dot, rest = path.partition(".")
    if not first or (dot and not rest):
        raise ConfigError(f"'{path}' is no path of a key; write it like recipe.lr", path=path)
    if not dot:
        return {**base, first: value}
    below = base.get(first)
    return {**base, first: replaced(below if isinstance(below, Mapping) else {}, rest, value)}
