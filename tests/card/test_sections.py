"""The sections of the sheet: letters, titles and documentation agree."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_type_hints

from mpsearch.card.schema import Card
from mpsearch.card.sections import CardSection


def test_a_card_has_every_section_once_in_the_order_of_its_letters() -> None:
    kinds = list(get_type_hints(Card).values())
    assert [kind.letter for kind in kinds] == list("ABCDEFGHIJKLMN")
    assert {kind.__name__ for kind in kinds} == {kind.__name__ for kind in CardSection.__subclasses__()}


def test_each_section_is_documented_under_its_letter_and_has_fields() -> None:
    for kind in CardSection.__subclasses__():
        assert is_dataclass(kind)
        assert str(kind.__doc__).startswith(f"{kind.letter}. ")
        assert fields(kind)
        assert kind.title
