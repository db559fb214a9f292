"""`half_step` by hand: all codes in use, symmetric, without a zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from tests.numbers.kinds.values import values


def test_values_by_hand() -> None:
    assert values(NumberFormat("half_step", 2), [[-2, 1], [0, -1]], [0.5, 2]).tolist() == [[-0.75, 0.75], [1.0, -1.0]]
    assert values(NumberFormat("half_step", 1), [[-1, 0]], [3]).tolist() == [[-1.5, 1.5]]


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_are_symmetric_and_none_is_zero(bits: int) -> None:
    every = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))[None]
    levels = values(NumberFormat("half_step", bits), every, [1])
    assert torch.equal(levels, -levels.flip(1))
    assert float(levels.abs().min()) == 0.5


def test_one_bit_is_the_mean_magnitude() -> None:
    """Of two levels ±s the least squared error has s = mean |w|: Rastegari et al., XNOR-Net, arXiv 1603.05279, eq. 6."""
    codes, scales = NumberFormat("half_step", 1).encode(torch.tensor([[1.0, -2.0, 3.0, -2.0]]))
    assert codes.tolist() == [[0, -1, 0, -1]]
    assert float(scales[0]) / 2 == pytest.approx(2.0, rel=0.02)
