from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from mpsearch.run.ledger import Ledger


def dump(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def load(plain: list[int]) -> Fraction:
    return Fraction(*plain)


def test_a_result_is_computed_once_and_read_back_by_the_next_process(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> Fraction:
        calls.append(1)
        return Fraction(1, 3)

    first = Ledger(tmp_path).once("third.json", compute, dump=dump, load=load)
    again = Ledger(tmp_path).once("third.json", compute, dump=dump, load=load)
    assert first == again == Fraction(1, 3)
    assert len(calls) == 1
    assert json.loads((tmp_path / "third.json").read_text())["result"] == [1, 3]


def test_a_computation_that_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Fraction:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path).once("third.json", interrupted, dump=dump, load=load)
    assert list(tmp_path.iterdir()) == []
    assert Ledger(tmp_path).read("third.json", load) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write("half.json", [1, 2])
    assert ledger.read("half.json", load) == Fraction(1, 2)
    assert ledger.path("half.json") == tmp_path / "half.json"


def test_one_wrong_digit_is_damage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write("half.json", [1, 2])
    file = tmp_path / "half.json"
    file.write_text(file.read_text().replace("[1, 2]", "[1, 3]"))
    assert ledger.read("half.json", load) is None
