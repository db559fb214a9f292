"""`RandomStream`: a private global random state of torch, NumPy and Python, active while other people's code draws from it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["RandomStream", "reseed"]


class RandomStream:
    """A random state that continues from one `with` to the next and restores the outer state each time.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int) -> None:
        self._state: tuple[Any, ...] = (
            torch.Generator().manual_seed(seed % 2**63).get_state(),
            np.random.RandomState(seed % 2**32).get_state(),
            random.Random(seed).getstate(),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, `torch.rand`, `np.random.rand` and `random.random` draw from this stream (CPU generator only)."""
        outer = _current()
        _install(self._state)
        try:
            yield
        finally:
            self._state = _current()
            _install(outer)


def reseed(seed: int) -> None:
    """Seed the global random state of torch (CPU), NumPy and Python; takes microseconds, where swapping states takes hundreds."""
    torch.default_generator.manual_seed(seed % 2**63)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _current() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _install(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
