"""Every format: exact sizes, packing that loses nothing, values by hand, and bytes that no weight packs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpsearch.numbers.formats import FORMATS, HALF, MOST_BASES, MULTIBIT, POWER_OF_TWO, TERNARY, UNIFORM, Format, grid_format
from mpsearch.numbers.grid import GRID_STYLES, weight_grid

every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)


def values(format: Format, codes: Any, scales: Any) -> torch.Tensor:
    return format.dequantize(torch.as_tensor(np.array(codes, dtype=np.int16)), torch.as_tensor(np.array(scales, dtype=np.float32)))


@st.composite
def weights(draw: st.DrawFn, format: Format) -> tuple[Any, Any, int]:
    """Codes, half-precision scales and bits of a weight that the format can hold."""
    bits = 2 if format is TERNARY else draw(st.integers(1, 8))
    channels, n = draw(st.integers(1, 9)), draw(st.integers(1, 15))
    low, high = (-1, 1) if format is TERNARY else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = st.floats(-4, 4, width=16)
    if format is not MULTIBIT:
        return (
            draw(arrays(np.int16, (channels, n), elements=st.integers(low, high))),
            draw(arrays(np.float16, channels, elements=number)),
            bits,
        )
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    alphas = random.choice(np.array([0.25, -1.5, 3, 0], np.float16), (channels, MOST_BASES))
    alphas.reshape(-1)[random.permutation(alphas.size)[: channels * (MOST_BASES - bits)]] = 0
    return random.integers(0, 256, (channels, n)).astype(np.int16), alphas, bits


@every_format
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_unpacked_is_what_was_packed_and_takes_what_was_said(format: Format, data: st.DataObject) -> None:
    codes, scales, bits = data.draw(weights(format))
    channels, n = codes.shape
    packed, stored = format.pack(codes, scales, bits)
    assert (packed.dtype, stored.dtype) == (np.dtype(np.uint8), np.dtype(np.float16))
    assert packed.shape == (format.code_bytes(channels, n, bits),)
    assert stored.shape == (format.scale_count(channels, bits),)
    again, rescaled = format.unpack(packed, stored, n, bits)
    assert again.dtype == np.int16
    assert torch.equal(values(format, again, rescaled), values(format, codes, scales))
    if format is not MULTIBIT:
        np.testing.assert_array_equal(again, codes)


def test_letters_are_those_of_the_file() -> None:
    assert {letter: format.letter for letter, format in FORMATS.items()} == {letter: letter for letter in "uhtpm"}


def test_sizes_by_hand() -> None:
    """Ten channels of 33 weights at 2 bits; multibit: 20 planes of 33 bits, ten numbers of four bits, 20 scales."""
    sizes = {letter: (format.code_bytes(10, 33, 2), format.scale_count(10, 2)) for letter, format in FORMATS.items()}
    assert sizes == {"u": (83, 10), "h": (83, 10), "t": (66, 10), "p": (83, 10), "m": (5 + 83, 20)}


def test_values_by_hand() -> None:
    assert values(UNIFORM, [[-2, 1]], [0.5]).tolist() == [[-1.0, 0.5]]
    assert values(HALF, [[-2, 1], [0, -1]], [0.5, 2]).tolist() == [[-0.75, 0.75], [1.0, -1.0]]
    assert values(TERNARY, [[-1, 0, 1]], [3]).tolist() == [[-3.0, 0.0, 3.0]]
    assert values(POWER_OF_TWO, [[0, 1, -1, -2]], [3]).tolist() == [[3.0, 1.5, -3.0, -1.5]]
    assert values(MULTIBIT, [[0b00, 0b01, 0b10, 0b11], [0, 1, 2, 3]], [[1, 3], [2, 0]]).tolist() == [[-4, -2, 2, 4], [-2, 2, -2, 2]]


@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_grids_format_means_the_grids_values(bits: int, style: Any) -> None:
    grid = weight_grid(bits, style)
    codes = np.arange(grid.lo, grid.hi + 1, dtype=np.int16)[None]
    format = grid_format(bits, style)
    assert values(format, codes, [2]).tolist() == [[2 * (code + grid.offset) for code in range(grid.lo, grid.hi + 1)]]
    unpacked, _ = format.unpack(*format.pack(codes, np.ones(1, np.float16), bits), codes.shape[1], bits)
    np.testing.assert_array_equal(unpacked, codes)
    assert (format is TERNARY) == (style == "narrow" and bits == 2)


def test_channels_share_out_the_planes() -> None:
    alphas = np.zeros((3, MOST_BASES), np.float16)
    alphas[0, [1, 4, 6]] = [4, 2, 1]  # three bases, none, one: four planes of the six that 2 bits allow
    alphas[2, 0] = 8
    codes = np.array([[0b1010010, 0], [255, 255], [1, 0]], np.int16)
    packed, stored = MULTIBIT.pack(codes, alphas, 2)
    assert (packed[0] & 15) + (packed[0] >> 4) + (packed[1] & 15) == 6
    assert sorted(stored.tolist()) == [0, 0, 1, 2, 4, 8]
    again, rescaled = MULTIBIT.unpack(packed, stored, 2, 2)
    assert (rescaled != 0).sum(1).tolist() == [3, 0, 1]
    assert values(MULTIBIT, again, rescaled).tolist() == [[7, -7], [0, 0], [8, -8]]


def test_more_bases_than_the_bits_allow() -> None:
    with pytest.raises(ValueError, match="5 bases in 2 channels are more than 2 a channel on average"):
        MULTIBIT.pack(np.zeros((2, 3), np.int16), np.array([[1] * 4 + [0] * 4, [1] + [0] * 7], np.float16), 2)


@pytest.mark.parametrize("head", [[0x22], [0x04 | 0xF0], [0x09]], ids=["too many", "negative", "over eight"])
def test_numbers_of_bases_that_do_not_add_up(head: list[int]) -> None:
    with pytest.raises(ValueError, match="not 1 on average"):
        MULTIBIT.unpack(np.array([*head, 0], np.uint8), np.zeros(2, np.float16), 3, 1)


def test_nine_bases_in_a_channel_are_refused_even_where_the_sum_is_right() -> None:
    with pytest.raises(ValueError, match="up to 9"):
        MULTIBIT.unpack(np.array([0x79, 0, 0], np.uint8), np.zeros(16, np.float16), 1, 8)


def test_ternary_codes_and_bytes_alone() -> None:
    with pytest.raises(ValueError, match="not ternary"):
        TERNARY.pack(np.array([[-2, 1]], np.int16), np.ones(1, np.float16), 2)
    with pytest.raises(ValueError, match="byte 243 holds no five ternary codes"):
        TERNARY.unpack(np.array([243], np.uint8), np.ones(1, np.float16), 5, 2)


@every_format
def test_too_few_bytes(format: Format) -> None:
    scales = np.ones((3, MOST_BASES) if format is MULTIBIT else 3, np.float16)
    bits = 8 if format is MULTIBIT else 2
    packed, stored = format.pack(np.zeros((3, 40), np.int16), scales, bits)
    with pytest.raises(ValueError, match="take"):
        format.unpack(packed[:-1], stored, 40, bits)
