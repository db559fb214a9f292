"""`uniform` by hand, and as every grid stores its codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.grid import GRID_STYLES, grid_of, stored_as_grid, weight_grid
from tests.numbers.kinds.values import values


def test_values_by_hand() -> None:
    assert values(NumberFormat("uniform", 2), [[-2, 1]], [0.5]).tolist() == [[-1.0, 0.5]]
    assert values(NumberFormat("uniform", 4), [[-8, 0, 7], [1, 2, 3]], [0.25, 2]).tolist() == [[-2.0, 0.0, 1.75], [2.0, 4.0, 6.0]]


def test_bytes_by_hand() -> None:
    """The first code in the lowest bits; negative codes in two's complement."""
    packed, scales = NumberFormat("uniform", 4).pack(np.array([[1, -1, 7]], np.int16), np.ones(1, np.float16))
    assert (packed.tolist(), scales.tolist()) == ([0xF1, 0x07], [1.0])


def test_codes_by_hand() -> None:
    """Two levels below zero and one above: −2, −1, 0, 1 times a half."""
    codes, scales = NumberFormat("uniform", 2).encode(torch.tensor([[-1.0, -0.5, 0.0, 0.5]]))
    assert codes.tolist() == [[-2, -1, 0, 1]]
    assert scales.tolist() == pytest.approx([0.5], rel=0.05)


@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_grids_format_means_the_grids_values(bits: int, style: Any) -> None:
    grid, asked = weight_grid(bits, style), NumberFormat("uniform", bits)
    assert grid_of(asked, style) == grid
    codes = np.arange(grid.lo, grid.hi + 1, dtype=np.int16)[None]
    format = stored_as_grid(asked, style)
    assert values(format, codes, [2]).tolist() == [[2 * (code + grid.offset) for code in range(grid.lo, grid.hi + 1)]]
    unpacked, _ = format.unpack(*format.pack(codes, np.ones(1, np.float16)), codes.shape[1])
    np.testing.assert_array_equal(unpacked, codes)
    assert format.bits == bits
    assert (format.kind == "ternary") == (style == "narrow" and bits == 2)
    assert (format.kind == "half_step") == (style == "half" or bits == 1)


def test_formats_with_a_name_are_stored_as_they_are() -> None:
    for text in ("t", "h2", "p4", "m2", "f", "4z"):
        for style in GRID_STYLES:
            assert str(stored_as_grid(NumberFormat.parse(text), style)) == text  # type: ignore[arg-type]
    assert str(stored_as_grid(NumberFormat.parse("4g64"), "half")) == "h4g64"
