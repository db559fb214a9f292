from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpsearch.numbers.packing import pack, pack_planes, pack_trits, packed_bytes, trit_bytes, unpack, unpack_planes, unpack_trits


@given(bits=st.integers(1, 8), data=st.data())
def test_unpack_inverts_pack(bits: int, data: st.DataObject) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = data.draw(arrays(np.int16, st.integers(0, 67), elements=st.integers(low, high)))
    packed = pack(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.size == packed_bytes(codes.size, bits) == -(-codes.size * bits // 8)
    assert np.array_equal(unpack(packed, bits, codes.size), codes)


def test_layout_is_that_of_onnx() -> None:
    assert pack(np.array([-8, 7]), 4).tolist() == [0x78]
    assert pack(np.array([-2, -1, 0, 1]), 2).tolist() == [0x4E]
    assert pack(np.array([-1, 0, 0, -1, 0, 0, 0, 0, -1]), 1).tolist() == [0b1001, 1]
    assert pack(np.array([-128, 127]), 8).tolist() == [0x80, 0x7F]


def test_three_bits_run_across_bytes() -> None:
    assert pack(np.array([1, 2, 3]), 3).tolist() == [0b11_010_001, 0]


def test_code_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit into 2 bits"):
        pack(np.array([0, 2]), 2)


def test_wrong_number_of_bytes() -> None:
    with pytest.raises(ValueError, match="9 codes of 3 bits take 4 bytes, got 3"):
        unpack(np.zeros(3, np.uint8), 3, 9)


@given(data=st.data())
def test_unpack_inverts_pack_of_trits(data: st.DataObject) -> None:
    codes = data.draw(arrays(np.int16, st.integers(0, 67), elements=st.integers(-1, 1)))
    packed = pack_trits(codes)
    assert packed.dtype == np.uint8
    assert packed.size == trit_bytes(codes.size) == -(-codes.size // 5)
    assert np.array_equal(unpack_trits(packed, codes.size), codes)


def test_trits_are_digits_from_the_lowest() -> None:
    assert pack_trits(np.array([1, 1, 1, 1, 1, 0])).tolist() == [242, 1]
    assert pack_trits(np.array([-1, 1, 0, -1, -1])).tolist() == [2 * 3 + 1 * 9]


@given(count=st.integers(0, 9), n=st.integers(1, 19), seed=st.integers(0, 99))
def test_unpack_inverts_pack_of_planes(count: int, n: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 2, (count, n))
    packed = pack_planes(planes)
    assert packed.size == packed_bytes(count * n, 1)
    assert np.array_equal(unpack_planes(packed, count, n), planes)


def test_wrong_number_of_bytes_of_trits_and_planes() -> None:
    with pytest.raises(ValueError, match="11 ternary codes take 3 bytes, got 2"):
        unpack_trits(np.zeros(2, np.uint8), 11)
    with pytest.raises(ValueError, match="3 planes of 3 bits take 2 bytes, got 1"):
        unpack_planes(np.zeros(1, np.uint8), 3, 3)
