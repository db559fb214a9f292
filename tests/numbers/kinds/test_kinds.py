"""What holds for every kind: exact sizes, packing that loses nothing, too few bytes refused, and values near those that were encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpsearch.core.number_format import NUMBER_KINDS, NumberFormat
from mpsearch.numbers.grid import stored_as_grid
from tests.numbers.kinds.values import values

MOST_BASES = 8
FORMATS = [NumberFormat(name, bits) for name, kind in NUMBER_KINDS.items() for bits in kind.widths]

every_kind = pytest.mark.parametrize("kind", NUMBER_KINDS.names())
every_format = pytest.mark.parametrize("format", FORMATS, ids=str)


@st.composite
def weights(draw: st.DrawFn, kind: str) -> tuple[NumberFormat, Any, Any]:
    """A format of the kind, and codes and half-precision scales that it can hold."""
    format = NumberFormat(kind, draw(st.sampled_from(NUMBER_KINDS[kind].widths)))
    channels, n = draw(st.integers(1, 9)), draw(st.integers(1, 15))
    if kind == "multibit":
        random = np.random.default_rng(draw(st.integers(0, 10**6)))
        alphas = random.choice(np.array([0.25, -1.5, 3, 0], np.float16), (channels, MOST_BASES))
        alphas.reshape(-1)[random.permutation(alphas.size)[: channels * (MOST_BASES - format.bits)]] = 0
        return format, random.integers(0, 256, (channels, n)).astype(np.int16), alphas
    low, high = (-1, 1) if kind == "ternary" else (-(2 ** (format.bits - 1)), 2 ** (format.bits - 1) - 1)
    codes = draw(arrays(np.int16, (channels, n), elements=st.integers(low, high)))
    return format, codes, draw(arrays(np.float16, channels, elements=st.floats(-4, 4, width=16)))


@every_kind
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_unpacked_is_what_was_packed_and_takes_what_was_said(kind: str, data: st.DataObject) -> None:
    format, codes, scales = data.draw(weights(kind))
    channels, n = codes.shape
    packed, stored = format.pack(codes, scales)
    assert (packed.dtype, stored.dtype) == (np.dtype(np.uint8), np.dtype(np.float16))
    assert packed.shape == (format.code_bytes(channels, n),)
    assert stored.shape == (format.scale_count(channels),)
    again, rescaled = format.unpack(packed, stored, n)
    assert (again.dtype, again.shape) == (np.dtype(np.int16), codes.shape)
    assert torch.equal(values(format, again, rescaled), values(format, codes, scales))
    if kind != "multibit":
        np.testing.assert_array_equal(again, codes)


@every_format
def test_bytes_are_no_fewer_than_the_bits_of_a_value(format: NumberFormat) -> None:
    """64 channels of 640 weights, a number that every width divides."""
    head = 32 if format.kind == "multibit" else 0
    assert format.code_bytes(64, 640) == head + 64 * 640 * format.bits_per_value / 8


def test_sizes_by_hand() -> None:
    """Ten channels of 33 weights at 2 bits; multibit: 20 planes of 33 bits, ten numbers of four bits, 20 scales."""
    made = {name: NumberFormat(name, 2) for name in NUMBER_KINDS}
    assert {name: (format.code_bytes(10, 33), format.scale_count(10)) for name, format in made.items()} == {
        "uniform": (83, 10),
        "half_step": (83, 10),
        "ternary": (66, 10),
        "power_of_two": (83, 10),
        "multibit": (5 + 83, 20),
    }


def test_every_kind_has_a_letter_of_its_own_and_uniform_none() -> None:
    letters = {name: kind.letter for name, kind in NUMBER_KINDS.items()}
    assert letters == {"uniform": "", "half_step": "h", "ternary": "t", "power_of_two": "p", "multibit": "m"}
    assert all(kind.name == name for name, kind in NUMBER_KINDS.items())


@every_kind
def test_too_few_and_too_many_bytes(kind: str) -> None:
    format = NumberFormat(kind, 8 if kind == "multibit" else 2)
    scales = np.ones((3, MOST_BASES) if kind == "multibit" else 3, np.float16)
    packed, stored = format.pack(np.zeros((3, 40), np.int16), scales)
    for wrong in (packed[:-1], np.concatenate([packed, packed[:1]])):
        with pytest.raises(ValueError, match="take"):
            format.unpack(wrong, stored, 40)


@pytest.mark.parametrize("kind", sorted(set(NUMBER_KINDS) - {"multibit"}))
def test_codes_that_do_not_fit(kind: str) -> None:
    for code in (2, -3):
        with pytest.raises(ValueError, match="codes from"):
            NumberFormat(kind, 2).pack(np.array([[0, code]], np.int16), np.ones(1, np.float16))


def noise() -> torch.Tensor:
    return torch.randn(4, 200, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.1], [1.0], [3.0], [0.02]])


def error(format: NumberFormat, rows: torch.Tensor) -> float:
    """Squared error by the square, channels alike."""
    return float(((format.decode(*format.encode(rows)) - rows).square().sum(1) / rows.square().sum(1)).mean())


@every_format
def test_what_is_encoded_can_be_packed_and_is_near(format: NumberFormat) -> None:
    rows = noise()
    codes, scales = format.encode(rows)
    assert (codes.dtype, codes.shape, scales.dtype) == (torch.int16, rows.shape, torch.float32)
    packed, stored = format.pack(codes.numpy(), scales.half().numpy())
    assert packed.shape == (format.code_bytes(4, 200),)
    again, rescaled = format.unpack(packed, stored, 200)
    torch.testing.assert_close(values(format, again, rescaled), format.decode(codes, scales), rtol=2e-2, atol=1e-3)
    if format == stored_as_grid(format):  # one uniform bit is written as a half-step one
        assert error(format, rows) < 0.45


@every_kind
def test_more_bits_are_nearer(kind: str) -> None:
    errors = [error(NumberFormat(kind, bits), noise()) for bits in NUMBER_KINDS[kind].widths]
    assert errors == sorted(errors, reverse=True)
    if kind in ("uniform", "half_step"):
        assert errors[-1] < 1e-4


@every_format
def test_a_scaled_weight_is_encoded_by_scaled_scales(format: NumberFormat) -> None:
    """A power of two, which no rounding sees."""
    codes, scales = format.encode(noise())
    fourfold, scaled = format.encode(4 * noise())
    assert torch.equal(fourfold, codes)
    torch.testing.assert_close(scaled, 4 * scales, rtol=1e-5, atol=0)


@every_format
def test_an_empty_channel_and_a_single_weight(format: NumberFormat) -> None:
    rows = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -2.0]])
    codes, scales = format.encode(rows)
    found = format.decode(codes, scales)
    assert bool(torch.isfinite(found).all())
    assert float(found[1, 2]) < 0
    format.pack(codes.numpy(), scales.half().numpy())
