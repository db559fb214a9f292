"""Steps and offsets of superblocks: near to what was asked, the same when asked again, exact in a file, as good as llama.cpp's own."""

from __future__ import annotations

import ctypes
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.core.number_format import MOST_OFFSETS, NumberFormat
from mpsearch.numbers.grid import grid_of
from mpsearch.numbers.offset_superblocks import fit_offset_superblocks, on_offset_superblocks
from mpsearch.numbers.packing import offset_multiples_of

FORMATS = [NumberFormat.parse(text) for text in ("4kz", "5kz")]
every_format = pytest.mark.parametrize("format", FORMATS, ids=str)


@given(seed=st.integers(0, 10**6), scale=st.floats(-12, 5), share=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_they_are_multiples_of_half_precision_and_stay(seed: int, scale: float, share: float) -> None:
    random = np.random.default_rng(seed)
    steps, offsets = (torch.from_numpy((np.exp(scale) * random.lognormal(0, 1, 4 * 8)).astype(np.float32)) for _ in range(2))
    offsets[torch.from_numpy(random.random(32) < share)] = 0
    held, taken = on_offset_superblocks(steps, offsets)
    assert all(torch.equal(again, found) for again, found in zip(on_offset_superblocks(held, taken), (held, taken), strict=True))
    again = on_offset_superblocks(held, taken / held * held)  # as a quantizer keeps offsets: as numbers of steps
    assert torch.equal(again[1], taken)
    units, multiples = offset_multiples_of(torch.stack([held, taken], 1).numpy())
    assert multiples[:, 0].min() >= 1
    assert (multiples[:, 0].max(1) == MOST_OFFSETS).all()
    for wanted, found, unit in zip((steps, offsets), (held, taken), units.astype(np.float32).T, strict=True):
        largest = wanted.reshape(-1, 8).amax(1).repeat_interleave(8).numpy()
        normal = np.repeat(unit, 8) > 2.0**-14  # below, the numbers of half precision are further apart than its eleven bits
        assert (np.abs(found.numpy() - wanted.numpy()) <= np.maximum(0.51 * np.repeat(unit, 8) + 0.001 * largest, 1e-30))[
            normal & (wanted.numpy() >= np.repeat(unit, 8))
        ].all()


def rows(count: int = 64) -> Tensor:
    """Groups of rows with an offset of their own, some of one sign, one constant, one of zeros."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(count, 32, generator=generator) * 0.02 + 0.01 * torch.randn(count, 1, generator=generator)
    found[3], found[4], found[5], found[6] = found[3].abs(), -found[4].abs(), 0.0, -0.02
    return found


def values(format: NumberFormat, weights: Tensor) -> Tensor:
    steps, offsets = fit_offset_superblocks(weights, format.bits)
    codes = ((weights + offsets[:, None]) / steps[:, None]).round().clamp(0, 2**format.bits - 1).to(torch.int16)
    return format.decode(codes, torch.stack([steps, offsets], 1))


@every_format
def test_they_cover_each_group_s_own_range(format: NumberFormat) -> None:
    weights = rows()
    found = values(format, weights)
    error = (found - weights).square().sum(1)
    assert float(error.sum() / weights.square().sum()) < {4: 0.0055, 5: 0.0013}[format.bits]
    assert float(found[5].abs().max()) < 1e-3
    assert torch.allclose(found[6], weights[6], atol=1e-3)
    assert (grid_of(format).lo, grid_of(format).hi) == (0, 2**format.bits - 1)


@every_format
def test_a_superblock_of_zeros_is_zeros(format: NumberFormat) -> None:
    assert torch.equal(values(format, torch.zeros(8, 32)), torch.zeros(8, 32))


@every_format
def test_the_error_is_no_larger_than_that_of_ggml(format: NumberFormat) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    weights = rows(512).contiguous()
    type = gguf.GGMLQuantizationType[f"Q{format.bits}_K"]
    blocks = np.zeros((64, 144 if format.bits == 4 else 176), np.uint8)
    library = next(Path(llama_cpp.__file__).parent.rglob("libggml-base*"))
    quantize = ctypes.CDLL(str(library)).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *3 * [ctypes.c_int64], ctypes.c_void_p]
    assert quantize(int(type), weights.data_ptr(), blocks.ctypes.data, 0, 64, 256, None) == blocks.nbytes
    theirs = torch.from_numpy(gguf.quants.dequantize(blocks, type)).reshape(512, 32)
    assert float((values(format, weights) - weights).square().sum()) < float((theirs - weights).square().sum())


@every_format
def test_packing_loses_nothing_and_takes_what_was_said(format: NumberFormat) -> None:
    random = np.random.default_rng(0)
    steps, offsets = fit_offset_superblocks(rows(), format.bits)
    scales = torch.stack([steps, offsets], 1).numpy()
    codes = random.integers(0, 2**format.bits, (64, 32)).astype(np.int16)
    packed, units = format.pack(codes, scales)
    assert (packed.nbytes, units.size) == (format.code_bytes(64, 32), format.scale_count(64))
    assert packed.nbytes + 2 * units.size == 64 * 32 * (format.bits + 0.5) / 8
    again, found = format.unpack(packed, units, 32)
    assert np.array_equal(again, codes)
    assert np.array_equal(found, scales)


def test_what_superblocks_do_not_have_is_found_out() -> None:
    scales = torch.stack(on_offset_superblocks(torch.linspace(0.01, 0.02, 8), torch.linspace(0, 0.1, 8)), 1).numpy()
    for column in (0, 1):
        wrong = scales.copy()
        wrong[3, column] *= 1.01
        with pytest.raises(ValueError, match="steps or offsets are no multiples of a unit"):
            offset_multiples_of(wrong)
