from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from mpsearch.core.nested import leaves, mapped, zipped

BATCH: Any = {"ids": 1, "pair": (2, [3]), "empty": []}


def test_a_change_keeps_the_structure() -> None:
    assert mapped(BATCH, lambda value: -value) == {"ids": -1, "pair": (-2, [-3]), "empty": []}
    assert mapped(4, lambda value: -value) == -4


def test_leaves_come_in_order() -> None:
    assert list(leaves(BATCH)) == [1, 2, 3]
    assert list(leaves(4)) == [4]


Pair = namedtuple("Pair", ["first", "second"])


@dataclass(frozen=True)
class Frozen:
    scores: int
    more: tuple[int, ...]


class ModelOutput(OrderedDict[str, Any]):
    """Entries that are attributes as well, made by keywords alone, as Hugging Face's."""

    def __init__(self, **entries: Any) -> None:
        super().__init__()
        for name, entry in entries.items():
            self[name] = entry

    def __setitem__(self, name: str, entry: Any) -> None:
        super().__setitem__(name, entry)
        super().__setattr__(name, entry)


@pytest.mark.parametrize("value", [Pair(1, 2), Frozen(1, (2, 3)), ModelOutput(logits=1, hidden=[2, 3]), OrderedDict(a=1)])
def test_structures_keep_their_type(value: Any) -> None:
    changed = mapped(value, lambda item: 10 * item)
    assert type(changed) is type(value)
    assert list(leaves(changed)) == [10 * item for item in leaves(value)]
    assert mapped(changed, lambda item: item // 10) == value


def test_attributes_of_entries_follow() -> None:
    assert mapped(ModelOutput(logits=1), lambda item: item + 1).logits == 2


def test_several_become_one() -> None:
    assert zipped([BATCH, BATCH], sum) == {"ids": 2, "pair": (4, [6]), "empty": []}
    assert zipped([Frozen(1, (2,)), Frozen(3, (4,))], list) == Frozen([1, 3], ([2, 4],))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dicts of a and of b"):
        zipped([{"a": 1}, {"b": 2}], sum)
    with pytest.raises(ValueError, match="tuple beside list"):
        zipped([(1,), [1]], sum)
