"""A choice as settings that are measured: the choice itself, or weight bits and activation bits separately if a menu has too many pairs."""

from __future__ import annotations

from collections.abc import Iterable

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT

__all__ = ["JOINT", "parts", "settings"]

JOINT = 16
"""Largest number of choices that are measured in pairs."""


def parts(choice: Choice, *, joint: bool) -> tuple[Choice, ...]:
    """The settings whose values add up to that of a choice; none for float."""
    both = (choice,) if joint else (Choice(choice.weight), Choice(FLOAT, choice.activation))
    return tuple(part for part in both if part != Choice(FLOAT))


def settings(menu: Iterable[Choice], *, joint: bool) -> tuple[Choice, ...]:
    """The settings of all choices on a menu, sorted."""
    return tuple(sorted({part for choice in menu for part in parts(choice, joint=joint)}))
