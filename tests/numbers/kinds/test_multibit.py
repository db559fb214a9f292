"""`multibit` by hand: channels share out the sign planes, and numbers of planes that do not add up are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.kinds.multibit import MOST_BASES
from tests.numbers.kinds.values import values


def multibit(bits: int) -> NumberFormat:
    return NumberFormat("multibit", bits)


def test_values_by_hand() -> None:
    codes, scales = [[0b00, 0b01, 0b10, 0b11], [0, 1, 2, 3]], [[1, 3], [2, 0]]
    assert values(multibit(2), codes, scales).tolist() == [[-4, -2, 2, 4], [-2, 2, -2, 2]]


def test_channels_share_out_the_planes() -> None:
    assert MOST_BASES == 8
    alphas = np.zeros((3, 8), np.float16)
    alphas[0, [1, 4, 6]] = [4, 2, 1]  # three bases, none, one: four planes of the six that 2 bits allow
    alphas[2, 0] = 8
    codes = np.array([[0b1010010, 0], [255, 255], [1, 0]], np.int16)
    packed, stored = multibit(2).pack(codes, alphas)
    assert (packed[0] & 15) + (packed[0] >> 4) + (packed[1] & 15) == 6
    assert sorted(stored.tolist()) == [0, 0, 1, 2, 4, 8]
    again, rescaled = multibit(2).unpack(packed, stored, 2)
    assert (rescaled != 0).sum(1).tolist() == [3, 0, 1]
    assert values(multibit(2), again, rescaled).tolist() == [[7, -7], [0, 0], [8, -8]]


def test_more_bases_than_the_bits_allow() -> None:
    with pytest.raises(ValueError, match="5 bases in 2 channels are more than 2 per channel on average"):
        multibit(2).pack(np.zeros((2, 3), np.int16), np.array([[1] * 4 + [0] * 4, [1] + [0] * 7], np.float16))


@pytest.mark.parametrize("head", [[0x22], [0x04 | 0xF0], [0x09]], ids=["too many", "negative", "over eight"])
def test_numbers_of_bases_that_do_not_add_up(head: list[int]) -> None:
    with pytest.raises(ValueError, match="not 1 on average"):
        multibit(1).unpack(np.array([*head, 0], np.uint8), np.zeros(2, np.float16), 3)


def test_nine_bases_in_a_channel_are_refused_even_where_the_sum_is_right() -> None:
    with pytest.raises(ValueError, match="up to 9"):
        multibit(8).unpack(np.array([0x79, 0, 0], np.uint8), np.zeros(16, np.float16), 1)


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_channel_is_encoded_with_as_many_vectors_as_bits(bits: int) -> None:
    rows = torch.randn(5, 300, generator=torch.Generator().manual_seed(bits))
    codes, scales = multibit(bits).encode(rows)
    assert scales.shape == (5, 8)
    assert (scales != 0).sum(1).tolist() == [bits] * 5
    assert multibit(bits).decode(codes, scales).unique().numel() <= 5 * 2**bits


def test_a_sum_of_signs_is_encoded_exactly() -> None:
    signs = torch.tensor([[1.0, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1, 1, 1, -1, -1]])
    rows = (torch.tensor([4.0, 1.0]) @ signs)[None]
    codes, scales = multibit(2).encode(rows)
    torch.testing.assert_close(multibit(2).decode(codes, scales), rows, rtol=1e-5, atol=1e-5)
    assert scales[0, :2].tolist() == pytest.approx([4.0, 1.0], rel=1e-5)
