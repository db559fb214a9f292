"""Blocks: what is joined is split again, and the package `gguf` reads the same values."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from mpsearch.core.number_format import NumberFormat
from mpsearch.targets.gguf.blocks import BLOCK, TYPES, joined, split, tensor_bytes

QUANTIZED = [format for format in TYPES if not format.is_float]


@pytest.mark.parametrize("format", QUANTIZED, ids=str)
def test_every_code_is_kept_and_read_alike_by_gguf(format: NumberFormat) -> None:
    random, half = np.random.default_rng(0), 2 ** (format.bits - 1)
    codes = random.integers(-half, half, (64, BLOCK)).astype(np.int16)
    codes[0], codes[1] = -half, half - 1
    scales = np.concatenate([[0, 2.0**-24, 65504], random.lognormal(-4, 2, 61)]).astype(np.float16)
    blocks = joined(format, codes, scales)
    assert blocks.nbytes == tensor_bytes(format, codes.size)
    again, found = split(format, blocks)
    assert np.array_equal(again, codes)
    assert np.array_equal(found, scales)
    theirs = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(TYPES[format].number))
    assert np.array_equal(theirs, codes * scales.astype(np.float32)[:, None])
    assert gguf.GGMLQuantizationType(TYPES[format].number).name == TYPES[format].name


@pytest.mark.parametrize("format", QUANTIZED, ids=str)
@pytest.mark.parametrize("beyond", [-1, 0], ids=["below", "above"])
def test_codes_of_more_bits_are_refused(format: NumberFormat, beyond: int) -> None:
    half = 2 ** (format.bits - 1)
    codes = np.full((1, BLOCK), half if beyond == 0 else -half - 1, dtype=np.int16)
    with pytest.raises(ValueError, match=f"do not fit into {format.bits} bits"):
        joined(format, codes, np.ones(1, dtype=np.float16))
