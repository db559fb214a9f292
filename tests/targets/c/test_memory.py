"""Buffers that are alive together lie apart, and the arena is as small as the bytes alive at once where a plan can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpsearch.targets.c.memory import Life, arranged

LIVES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=10)


@given(LIVES)
def test_nothing_alive_is_overwritten(drawn: list[tuple[int, int, int]]) -> None:
    lives = {number: Life(size, born, born + length) for number, (size, born, length) in enumerate(drawn)}
    arena = arranged(lives)
    for one, life in lives.items():
        assert arena.offsets[one] % 4 == 0
        assert arena.offsets[one] + life.bytes <= arena.bytes
        for other, its in lives.items():
            if other != one and its.born <= life.last and life.born <= its.last:
                begin, end = arena.offsets[one], arena.offsets[one] + life.bytes
                assert end <= arena.offsets[other] or arena.offsets[other] + its.bytes <= begin
    assert arena.least <= arena.bytes <= sum(-(-life.bytes // 4) * 4 for life in lives.values())


def test_a_chain_takes_its_largest_neighbours() -> None:
    arena = arranged({number: Life(size, number, number + 1) for number, size in enumerate([40, 100, 20, 80])})
    assert arena.bytes == arena.least == 140


def test_a_function_of_each_element_writes_over_its_input() -> None:
    lives = {0: Life(400, 0, 1), 1: Life(100, 1, 3, frozenset({0})), 2: Life(300, 2, 3)}
    arena = arranged(lives)
    assert arena.bytes == arena.least == 400
    assert arena.offsets[0] == arena.offsets[1]


def test_bytes_are_rounded_up_to_whole_floats_and_nothing_takes_nothing() -> None:
    assert arranged({0: Life(1, 0, 1), 1: Life(5, 1, 1)}).bytes == 12
    assert arranged({}).bytes == 0


def test_functions_that_follow_each_other_share_one_place_and_the_rest_lies_around_them() -> None:
    residual = Life(576, 1, 2), Life(576, 2, 8, frozenset({1})), Life(576, 8, 9, frozenset({2, 7}))
    wide = Life(1152, 4, 5), Life(1152, 5, 6, frozenset({4})), Life(288, 6, 7, frozenset({5}))
    lives = dict(enumerate([Life(36, 0, 1), *residual[:2], Life(144, 3, 4), *wide, Life(576, 7, 8), residual[2]]))
    arena = arranged(lives)
    assert arena.bytes == arena.least == 576 + 144 + 1152
    assert arena.offsets[1] == arena.offsets[2] == arena.offsets[8]
    assert arena.offsets[4] == arena.offsets[5]
