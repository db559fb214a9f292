from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mpsearch.data.random_stream import RandomStream, reseed


def draws(count: int = 2) -> list[float]:
    return [value for _ in range(count) for value in (float(torch.rand(1)), float(np.random.rand()), random.random())]


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 1, -3])
def test_a_stream_goes_on_where_it_stopped(seed: int) -> None:
    whole, parts = RandomStream(seed), RandomStream(seed)
    with whole.active():
        wanted = draws(4)
    with parts.active():
        first = draws(2)
    draws(3)
    with parts.active():
        second = draws(2)
    assert first + second == wanted


def test_the_outer_state_is_as_if_nothing_was_drawn() -> None:
    reseed(5)
    wanted = draws(4)
    reseed(5)
    first = draws(2)
    with RandomStream(1).active():
        draws(3)
    assert first + draws(2) == wanted


def test_the_outer_state_comes_back_after_an_error() -> None:
    reseed(5)
    wanted = draws()
    reseed(5)

    def fail() -> None:
        with RandomStream(1).active():
            draws()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert draws() == wanted


def test_seeds_differ_in_every_generator() -> None:
    found = []
    for seed in (1, 2):
        with RandomStream(seed).active():
            found.append(draws(1))
    assert all(a != b for a, b in zip(*found, strict=True))


def test_reseeding_starts_all_three_anew() -> None:
    reseed(2**65 + 3)
    first = draws()
    reseed(2**65 + 3)
    assert draws() == first
