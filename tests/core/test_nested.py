from __future__ import annotations

from typing import Any

from mpsearch.core.nested import leaves, mapped

BATCH: Any = {"ids": 1, "pair": (2, [3]), "empty": []}


def test_a_change_keeps_the_structure() -> None:
    assert mapped(BATCH, lambda value: -value) == {"ids": -1, "pair": (-2, [-3]), "empty": []}
    assert mapped(4, lambda value: -value) == -4


def test_leaves_come_in_order() -> None:
    assert list(leaves(BATCH)) == [1, 2, 3]
    assert list(leaves(4)) == [4]
