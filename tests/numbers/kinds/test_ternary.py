"""`ternary` by hand, and the codes and bytes that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from tests.numbers.kinds.values import values

TERNARY = NumberFormat("ternary", 2)


def test_values_by_hand() -> None:
    assert values(TERNARY, [[-1, 0, 1]], [3]).tolist() == [[-3.0, 0.0, 3.0]]


def test_bytes_by_hand() -> None:
    """Digits of base 3, the first the lowest: 2 + 0·3 + 1·9 + 1·27 + 1·81, and one more byte for a sixth."""
    packed, _ = TERNARY.pack(np.array([[1, -1, 0, 0, 0, 1]], np.int16), np.ones(1, np.float16))
    assert packed.tolist() == [119, 2]


def test_five_weights_take_a_byte() -> None:
    assert [TERNARY.code_bytes(1, n) for n in (1, 5, 6, 10)] == [1, 1, 2, 2]
    assert TERNARY.code_bytes(3, 5) == 3
    assert TERNARY.bits_per_value == 1.6


def test_codes_by_hand() -> None:
    codes, scales = TERNARY.encode(torch.tensor([[2.0, -2.0, 0.1, -0.1, 2.0]]))
    assert codes.tolist() == [[1, -1, 0, 0, 1]]
    assert float(scales[0]) == pytest.approx(2.0, rel=0.02)


def test_codes_and_bytes_of_three_digits_alone() -> None:
    with pytest.raises(ValueError, match="codes from -2 to 1 are not ternary"):
        TERNARY.pack(np.array([[-2, 1]], np.int16), np.ones(1, np.float16))
    with pytest.raises(ValueError, match="byte 243 does not hold five ternary codes"):
        TERNARY.unpack(np.array([243], np.uint8), np.ones(1, np.float16), 5)
