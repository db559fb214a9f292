"""Blocks: what is joined is split again, and the package `gguf` reads the same values."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.offset_superblocks import on_offset_superblocks
from mpsearch.numbers.superblocks import on_superblocks
from mpsearch.targets.gguf.blocks import TYPES, joined, split, tensor_bytes

QUANTIZED = [format for format in TYPES if not format.is_float]
ROWS = 64


def filled(format: NumberFormat) -> tuple[np.ndarray, np.ndarray]:
    """Codes `[64, n]`, all there are, and steps from the smallest to the largest that the type holds."""
    random, half = np.random.default_rng(0), 2 ** (format.bits - 1)
    codes = random.integers(-half, half, (ROWS, format.group or 1)).astype(np.int16)
    codes[0], codes[1] = -half, half - 1
    steps = random.lognormal(-6, 2, ROWS).astype(np.float32)
    steps[:3] = 2.0**-24, 1e-6, 1000
    if format.granularity == "offset_superblock":
        offsets = random.lognormal(-5, 2, ROWS).astype(np.float32)
        offsets[:2], offsets[16:24] = 0, 0
        return codes + np.int16(half), torch.stack(on_offset_superblocks(torch.from_numpy(steps), torch.from_numpy(offsets)), 1).numpy()
    if format.granularity == "superblock":
        return codes, on_superblocks(torch.from_numpy(steps), format.bits).numpy()
    return codes, steps.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("format", QUANTIZED, ids=str)
def test_every_code_is_kept_and_read_alike_by_gguf(format: NumberFormat) -> None:
    codes, steps = filled(format)
    blocks = joined(format, codes, steps)
    assert blocks.nbytes == tensor_bytes(format, codes.size)
    again, found = split(format, blocks)
    assert np.array_equal(again, codes)
    assert np.array_equal(found, steps)
    theirs = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(TYPES[format].number))
    offset = 0.5 if format.kind == "half_step" else 0.0
    step, taken = (steps[:, :1], steps[:, 1:]) if steps.ndim == 2 else (steps[:, None], np.float32(0))
    assert np.array_equal(theirs.reshape(codes.shape), (codes + np.float32(offset)) * step - taken)
    decoded = format.decode(torch.from_numpy(codes), torch.from_numpy(steps)).numpy()
    assert np.array_equal(theirs.reshape(codes.shape), decoded)
    assert gguf.GGMLQuantizationType(TYPES[format].number).name == TYPES[format].name


@pytest.mark.parametrize("format", QUANTIZED, ids=str)
@pytest.mark.parametrize("beyond", [-1, 0], ids=["below", "above"])
def test_codes_of_more_bits_are_refused(format: NumberFormat, beyond: int) -> None:
    codes, steps = filled(format)
    codes[5] = codes[:5].max() + 1 if beyond == 0 else codes[:5].min() - 1
    with pytest.raises(ValueError, match=f"do not fit into {format.bits} bits"):
        joined(format, codes, steps)


@pytest.mark.parametrize("format", QUANTIZED, ids=str)
def test_steps_that_a_type_does_not_hold_are_refused(format: NumberFormat) -> None:
    codes, steps = filled(format)
    steps[7] = 0.1
    with pytest.raises(ValueError, match=r"steps (are|or offsets are) no (numbers of half precision|multiples of a unit)"):
        joined(format, codes, steps)
