from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpsearch.methods.lsq import Lsq
from mpsearch.testing import variants


@dataclass(frozen=True, kw_only=True)
class Settings(Lsq):
    """A method with a setting of every kind."""

    shape: Literal["a", "b", "c"] = "b"
    late: bool = True
    rate: float = 0.1
    label: str = "x"


def test_each_further_value_of_a_choice_is_a_variant() -> None:
    assert variants(Settings) == {
        "default": Settings(),
        "shape=a": Settings(shape="a"),
        "shape=c": Settings(shape="c"),
        "late=False": Settings(late=False),
    }


def test_a_method_without_choices_has_its_default_alone() -> None:
    assert variants(Lsq) == {"default": Lsq()}
