"""Bases are pruned where scores, which grow with the root of the weights of a channel, are least; what is read off is priced by weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.network.trace import trace
from mpsearch.signals.learned.alq import priced_by_weight


def test_a_base_of_four_times_the_weights_counts_half_a_bit_less() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8))
    space = Space(name="s", weights=(1, 2, 4, FLOAT_BITS)).resolve(trace(model, torch.randn(2, 4)))
    bits = priced_by_weight(space, {"0": 2.0, "1": 2.0, "3": 3.0})
    assert bits["2"] == FLOAT_BITS
    assert bits["0"] - bits["3"] == pytest.approx(2 - 3 + 0.5)  # 4 and 16 weights a base
    assert bits["0"] - bits["1"] == pytest.approx(0.25)
    sizes = {"0": 32, "1": 64, "3": 128}
    assert sum(n * bits[name] for name, n in sizes.items()) == pytest.approx(32 * 2 + 64 * 2 + 128 * 3)
