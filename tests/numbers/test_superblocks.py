"""Steps of superblocks: near to what was asked, the same when asked again, exact in a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.number_format import MULTIPLES
from mpsearch.numbers.packing import multiples_of
from mpsearch.numbers.superblocks import on_superblocks


@given(seed=st.integers(0, 10**6), scale=st.floats(-20, 5), bits=st.sampled_from(sorted(MULTIPLES)))
@settings(max_examples=200, deadline=None)
def test_they_are_multiples_of_half_precision_and_stay(seed: int, scale: float, bits: int) -> None:
    random = np.random.default_rng(seed)
    steps = torch.from_numpy((np.exp(scale) * random.lognormal(0, 1, 4 * 16)).astype(np.float32))
    found = on_superblocks(steps, bits)
    assert torch.equal(on_superblocks(found, bits), found)
    units, multiples = multiples_of(found.numpy(), bits)
    assert multiples.min() >= 1
    assert (multiples.max(axis=1) == MULTIPLES[bits]).all()
    offsets = units.astype(np.float32) * np.float32(1.5)
    assert bits > 2 or np.array_equal(offsets.astype(np.float16), offsets)
    unit = np.repeat(units.astype(np.float32), 16)  # the smallest step there is
    largest = np.repeat(steps.numpy().reshape(-1, 16).max(1), 16)
    held = unit > 2.0**-15  # below, the numbers of half precision are further apart than its eleven bits
    assert (np.abs(found.numpy() - steps.numpy()) <= np.maximum(0.51 * unit + 0.004 * largest, unit))[held].all()


def test_steps_off_the_multiples_are_found_out() -> None:
    steps = on_superblocks(torch.linspace(0.01, 0.02, 16), 3).numpy()
    steps[3] *= 1.01
    with pytest.raises(ValueError, match="steps are no multiples of a unit"):
        multiples_of(steps, 3)
