"""`power_of_two` by hand; its arithmetic is that of `mpsearch.numbers.power_of_two`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from tests.numbers.kinds.values import values


def test_values_by_hand() -> None:
    assert values(NumberFormat("power_of_two", 2), [[0, 1, -1, -2]], [3]).tolist() == [[3.0, 1.5, -3.0, -1.5]]


def test_bytes_by_hand() -> None:
    """k for a positive, −1 − k for a negative value, each in two bits."""
    packed, _ = NumberFormat("power_of_two", 2).pack(np.array([[0, 1, -1, -2]], np.int16), np.ones(1, np.float16))
    assert packed.tolist() == [0b10_11_01_00]


@pytest.mark.parametrize("bits", range(2, 6))
def test_powers_of_two_are_encoded_exactly(bits: int) -> None:
    """As many as there are codes, and the scale is the largest."""
    format = NumberFormat("power_of_two", bits)
    powers = 0.75 * 2.0 ** -torch.arange(2 ** (bits - 1))
    rows = torch.cat([powers, -powers])[None]
    codes, scales = format.encode(rows)
    assert scales.tolist() == [0.75]
    assert torch.equal(format.decode(codes, scales), rows)
    assert len(codes.unique()) == 2**bits


def test_a_weight_of_zero_is_the_least_positive_level() -> None:
    format = NumberFormat("power_of_two", 3)
    codes, scales = format.encode(torch.tensor([[1.0, -1.0, 0.0]]))
    assert codes.tolist() == [[0, -1, 3]]
    assert float(format.decode(codes, scales)[0, 2]) == pytest.approx(float(scales[0]) / 8)
