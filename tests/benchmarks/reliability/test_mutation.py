"""Damage is drawn from its seed alone, and does damage."""

from __future__ import annotations

from random import Random

from benchmarks.reliability.mutation import difference, mutated_bytes, mutated_text

TEXT = "name: a\nbudgets: [2MB]\nseed: 0\n"


def test_the_seed_decides_and_most_mutations_change_something() -> None:
    texts = [mutated_text(TEXT, Random(seed)) for seed in range(200)]
    assert texts == [mutated_text(TEXT, Random(seed)) for seed in range(200)]
    assert sum(text != TEXT for text in texts) > 180
    data = bytes(range(256)) * 4
    damaged = [mutated_bytes(data, Random(seed), 100) for seed in range(200)]
    assert damaged == [mutated_bytes(data, Random(seed), 100) for seed in range(200)]
    assert sum(each != data for each in damaged) > 180


def test_the_difference_names_what_stands_in_place_of_what() -> None:
    assert difference("a: 1\n", "a: 2\n") == "'a: 1' -> 'a: 2'"
    assert len(difference(TEXT, "x" * 10_000)) < 500
