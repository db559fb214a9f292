"""Integers times a scale are the values of a format, or the format is refused."""

from __future__ import annotations

import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.grid import grid_of
from mpsearch.targets.onnx_qdq.integers import integers_of

HELD = {"1": 4, "2": 4, "3": 4, "4": 4, "5": 8, "8": 8, "h1": 4, "h3": 4, "h4": 8, "h7": 8, "t": 4, "4g32z": 4, "8z": 8}


@pytest.mark.parametrize(("text", "bits"), HELD.items())
def test_integers_have_the_values_of_the_codes(text: str, bits: int) -> None:
    format = NumberFormat.parse(text)
    integers = integers_of(format)
    assert integers is not None
    assert (integers.bits, integers.dtype) == (bits, f"int{bits}")
    grid = grid_of(format)
    codes = torch.arange(grid.lo, grid.hi + 1, dtype=torch.int16)
    held = integers.of_codes(codes)
    assert -(2 ** (bits - 1)) <= int(held.min()) <= int(held.max()) < 2 ** (bits - 1)
    assert torch.equal(integers.codes(held), codes)
    scale = torch.tensor([0.3])
    assert torch.equal(held.float() * (scale * integers.scale), format.decode(codes[None], scale)[0])


@pytest.mark.parametrize(("text", "bits"), {"1": 2, "2": 2, "h1": 2, "t": 2, "2g32z": 2, "3": 4, "h2": 4, "4": 4, "5": 8}.items())
def test_two_bits_hold_what_fits_into_them(text: str, bits: int) -> None:
    format = NumberFormat.parse(text)
    integers = integers_of(format, int2=True)
    assert integers is not None
    assert (integers.bits, integers.dtype) == (bits, f"int{bits}")
    grid = grid_of(format)
    held = integers.of_codes(torch.arange(grid.lo, grid.hi + 1, dtype=torch.int16))
    assert -(2 ** (bits - 1)) <= int(held.min()) <= int(held.max()) < 2 ** (bits - 1)


@pytest.mark.parametrize("text", ["h8", "m2", "p4", "f"])
def test_what_is_no_integer_times_a_scale_has_none(text: str) -> None:
    assert integers_of(NumberFormat.parse(text)) is None


def test_an_even_number_is_no_code_of_a_weight_without_a_zero() -> None:
    integers = integers_of(NumberFormat.parse("h2"))
    assert integers is not None
    with pytest.raises(ValueError, match="even number"):
        integers.codes(torch.tensor([1, 2], dtype=torch.int16))
