"""The card's formulas against numbers worked out elsewhere, and the laws between them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.card.arithmetic import (
    accumulator_bits,
    asymmetry_bits,
    bops,
    bops_with_additions,
    equal_size_bits,
    mean_bits,
    over_seeds,
    packed_bytes,
    peak_bits,
    peak_live_bits,
    tier,
)

LAYERS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 32)), min_size=1, max_size=30)


def test_fair_accounting_of_resnet50() -> None:
    """25,502,912 weights, the first layer's 9,408 and the last one's 2,048,000 at 8 bits: the published constant."""
    rest = 25_502_912 - 9_408 - 2_048_000
    assert mean_bits([9_408, rest, 2_048_000], [8, 4, 8]) == pytest.approx(4.322694, abs=5e-7)
    assert mean_bits([9_408, rest, 2_048_000], [8, 4, 8], without=(0, 2)) == 4


def test_mean_of_nothing_is_no_number() -> None:
    assert math.isnan(mean_bits([5], [4], without=(0,)))


@given(LAYERS)
def test_mean_lies_between_and_below_the_peak(layers: list[tuple[int, int]]) -> None:
    elements, bits = zip(*layers, strict=True)
    mean = mean_bits(elements, bits)
    assert min(bits) - 1e-9 <= mean <= max(bits) + 1e-9
    assert mean <= peak_bits(elements, bits) / (sum(elements) / len(elements)) + 1e-6
    assert 8 * packed_bytes(elements, bits) >= sum(e * b for e, b in layers) > 8 * (packed_bytes(elements, bits) - len(layers))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.integers(1, 8))
def test_equal_sizes_fill_the_largest_map(elements: list[int], target: int) -> None:
    bits = equal_size_bits(elements, target)
    largest = max(elements) * target
    assert all(e * b <= largest for e, b in zip(elements, bits, strict=True))
    assert bits[elements.index(max(elements))] == target
    assert all(b == 32 or (b + 1) * e > largest for e, b in zip(elements, bits, strict=True))
    assert max(bits) <= 32


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(-1, 20), st.integers(0, 10)), min_size=1, max_size=20))
def test_live_peak_is_the_largest_sum_at_any_moment(maps: list[tuple[int, int, int]]) -> None:
    sizes, born, last = [m[0] for m in maps], [m[1] for m in maps], [m[1] + m[2] for m in maps]
    expected = max(sum(s for s, b, e in zip(sizes, born, last, strict=True) if b <= t <= e) for t in range(-1, 31))
    assert peak_live_bits(sizes, born, last) == expected
    assert max(sizes) <= expected <= sum(sizes)


def test_asymmetry() -> None:
    assert asymmetry_bits(-1, 1) == 0
    assert asymmetry_bits(0, 5) == 1
    assert asymmetry_bits(2, 5) == 1  # zero has to be representable
    assert asymmetry_bits(-4, 0) == 1
    assert asymmetry_bits(0, 0) == 0
    assert asymmetry_bits(-1, 3) == pytest.approx(math.log2(6 / 4))


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 8), st.integers(2, 8)), min_size=1, max_size=20), st.data())
def test_one_layer_is_one_summand(layers: list[tuple[int, int, int]], data: st.DataObject) -> None:
    macs, weights, acts = map(list, zip(*layers, strict=True))
    index = data.draw(st.integers(0, len(layers) - 1))
    changed = list(weights)
    changed[index] = data.draw(st.integers(1, 8))
    assert bops(macs, changed, acts) - bops(macs, weights, acts) == macs[index] * acts[index] * (changed[index] - weights[index])
    assert bops(macs, [4] * len(macs), [8] * len(macs)) == 32 * sum(macs)
    assert packed_bytes(macs, changed) - packed_bytes(macs, weights) == math.ceil(macs[index] * changed[index] / 8) - math.ceil(
        macs[index] * weights[index] / 8
    )


def test_additions_and_accumulator() -> None:
    assert bops_with_additions([10], [4], [8], [16]) == 10 * (32 + 4 + 8 + 4)
    assert accumulator_bits(8, 8, 4608) == 29
    assert accumulator_bits(2, 4, 1) == 6
    # Σ of n products of the largest magnitudes fits: 2^(w−1) · 2^a · n ≤ 2^(bits−1)
    assert all(2 ** (w - 1) * 2**a * n <= 2 ** (accumulator_bits(w, a, n) - 1) for w in (1, 4, 8) for a in (2, 8) for n in (1, 9, 4608))


def test_one_seed_has_no_deviation() -> None:
    assert over_seeds({0: 0.5}) == (0.5, "n/a: one seed")
    mean, std = over_seeds({0: 0.5, 3: 0.7})
    assert mean == pytest.approx(0.6)
    assert std == pytest.approx(math.sqrt(0.02))
    with pytest.raises(ValueError, match="at least one seed"):
        over_seeds({})


@pytest.mark.parametrize(
    ("images", "backward", "labels", "expected"),
    [
        (0, 0, 0, "P0"),
        (1024, 0, 0, "P1"),
        (1025, 0, 0, "P2"),
        (32, 64, 0, "P2"),
        (32, 0, 32, "P3"),
        (50_000, 50_000, 50_000, "P3"),
        (50_000, 50_001, 1, "P4"),
    ],
)
def test_passes_decide_the_tier(images: int, backward: int, labels: int, expected: str) -> None:
    assert tier(images=images, backward=backward, labels=labels, epoch=50_000) == expected


def test_resnet18_of_torchvision() -> None:
    """11,678,912 weights and 1.814 GMACs at 224²: 11.68 MB and 116 GBOPs at 8 bits, 1858 GBOPs in float, as HAWQ-V3 lists them."""
    import torch
    from torchvision.models import resnet18

    from mpsearch.network.trace import trace

    model = resnet18().eval()
    layers = trace(model, torch.zeros(1, 3, 224, 224))
    weights, macs = [layer.weights for layer in layers], [layer.macs for layer in layers]
    eight, whole = [8] * len(layers), [32] * len(layers)
    assert sum(weights) == 11_678_912
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512
    assert packed_bytes(weights, eight) == 11_678_912
    assert sum(macs) / 1e9 == pytest.approx(1.814, abs=5e-4)
    assert bops(macs, eight, eight) / 1e9 == pytest.approx(116.1, abs=0.05)
    assert bops(macs, whole, whole) / 1e9 == pytest.approx(1857.6, abs=0.5)
