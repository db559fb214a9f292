from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.card.schema import Card, canonical_id, na
from mpsearch.card.sections import Flip
from mpsearch.core.errors import ConfigError
from tests.card.cards import changed, make_card

PLAIN = make_card().to_dict()
PATHS = [(section, name) for section, content in PLAIN.items() for name in content]


def test_json_and_back_is_the_same_card_and_the_same_text() -> None:
    card = make_card()
    again = Card.from_json(card.to_json())
    assert again == card
    assert again.to_json() == card.to_json()


@pytest.mark.parametrize(("section", "name"), PATHS)
def test_a_missing_field_is_refused_by_its_path(section: str, name: str) -> None:
    plain = make_card().to_dict()
    del plain[section][name]
    with pytest.raises(ConfigError, match=f"card.{section}.{name}: this field is missing") as caught:
        Card.from_dict(plain)
    assert caught.value.path == f"card.{section}.{name}"


def test_missing_sections_unknown_fields_and_flips() -> None:
    plain = make_card().to_dict()
    del plain["data"]
    with pytest.raises(ConfigError, match=r"card.data: this field is missing"):
        Card.from_dict(plain)
    with pytest.raises(ConfigError, match=r"card.costs.price: a card has no such field"):
        changed("costs.price", 3)
    plain = make_card().to_dict()
    del plain["ablation"]["flips"][1]["note"]
    with pytest.raises(ConfigError, match=r"card.ablation.flips\[1\].note"):
        Card.from_dict(plain)
    with pytest.raises(ConfigError, match="an object with fields"):
        Card.from_dict({**make_card().to_dict(), "costs": 3})


def test_every_letter_of_the_sheet_is_there_once() -> None:
    assert [section.letter for section in make_card().sections] == list("ABCDEFGHIJKLMN")


def test_numbers_that_are_none_say_so() -> None:
    card = make_card()
    card = replace(card, result=replace(card.result, mean=math.nan))
    assert Card.from_json(card.to_json()).result.mean == na("nan is not a number")


KEYS = st.sampled_from(["a", "b", "é", "bits", "recipe", ""])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | KEYS
TREES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(KEYS, LEAVES | st.dictionaries(KEYS, LEAVES, max_size=3), max_size=4)


def shuffled(tree: object, data: st.DataObject) -> object:
    if isinstance(tree, dict):
        return {key: shuffled(tree[key], data) for key in data.draw(st.permutations(list(tree)))}
    return [shuffled(item, data) for item in tree] if isinstance(tree, list) else tree


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=4), st.data())
def test_the_order_of_keys_does_not_count(tree: dict[str, object], data: st.DataObject) -> None:
    other = shuffled(tree, data)
    assert isinstance(other, dict)
    assert canonical_id(tree) == canonical_id(other)
    assert canonical_id(tree) != canonical_id({**tree, "one more": 1})


def test_the_order_of_a_list_counts() -> None:
    assert canonical_id({"a": [1, 2]}) != canonical_id({"a": [2, 1]})


def test_flips_are_all_fields() -> None:
    assert set(json.loads(make_card().to_json())["ablation"]["flips"][0]) == {place.name for place in fields(Flip)}
