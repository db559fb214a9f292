from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import DataError
from mpsearch.core.table import Table
from mpsearch.signals.mix import mix, rank_correlation

LAYERS = tuple(f"layer{index}" for index in range(12))
CHOICES = (Choice(1), Choice(2), Choice(4), Choice(8))


def table(name: str, seed: int, scale: float = 1.0) -> Table:
    random = np.random.default_rng(seed)
    values = scale * random.lognormal(0, 1.5, (len(LAYERS), 1)) * 4.0 ** -np.array([1, 2, 4, 8]) * random.lognormal(0, 0.4, (12, 4))
    return Table(name=name, unit="nats", layers=LAYERS, choices=CHOICES, values=values)


def draw(count: int, seed: int = 0) -> list[Allocation]:
    random = np.random.default_rng(seed)
    return [Allocation({name: CHOICES[random.integers(4)] for name in LAYERS}) for _ in range(count)]


@settings(max_examples=25, deadline=None)
@given(w=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), scale=st.sampled_from([1e-6, 1.0, 1e3]))
def test_weights_of_an_additive_truth_are_recovered(w: tuple[float, float], scale: float) -> None:
    a, b = table("a", 1, scale), table("b", 2)
    allocations = draw(40)
    truth = [w[0] * a.total(x) + w[1] * b.total(x) for x in allocations]
    found = mix([a, b, table("noise", 3)], allocations, truth)
    assert found.correlation > 0.99
    others = draw(20, seed=9)
    expected = np.array([w[0] * a.total(x) + w[1] * b.total(x) for x in others])
    assert rank_correlation(np.array([found.predict(x) for x in others]), expected) > 0.97


def test_what_bits_do_not_change_is_told_apart() -> None:
    a, b = table("a", 1, 0.01), table("b", 2, 0.02)
    allocations = draw(48)
    found = mix([a, b], allocations, [0.3 + a.total(x) + b.total(x) for x in allocations])
    assert found.floor == pytest.approx(0.3, abs=0.02)
    unseen = draw(50, seed=4)
    expected = np.array([0.3 + a.total(x) + b.total(x) for x in unseen])
    assert rank_correlation(np.array([found.predict(x) for x in unseen]), expected) > 0.98


def test_one_signal_that_knows_is_heard_above_many_that_know_little_though_losses_hardly_differ() -> None:
    """As after training: the floor is most of the loss, and what training repairs only one signal can say."""
    behind = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        truth = table("truth", 100 + seed)
        good = replace(truth, name="good", values=truth.values * random.lognormal(0, 0.2, truth.values.shape))
        poor = [replace(truth, name=f"poor{n}", values=truth.values * random.lognormal(0, 1.2, truth.values.shape)) for n in range(8)]
        fitted, unseen = draw(24, seed), draw(60, 50 + seed)
        unit = 0.1 / np.median([truth.total(x) for x in fitted])
        losses = [0.2 + unit * truth.total(x) for x in fitted]
        found = mix([good, *poor], fitted, losses)
        measured = np.array([truth.total(x) for x in unseen])
        alone = rank_correlation(np.array([good.total(x) for x in unseen]), measured)
        behind.append(alone - rank_correlation(np.array([found.predict(x) for x in unseen]), measured))
    assert np.mean(behind) < 0.02


def test_the_correlation_is_of_ranks_given_by_weights_fitted_without() -> None:
    signals = [table(name, seed) for name, seed in (("a", 1), ("b", 2))]
    allocations = draw(16)
    losses = np.random.default_rng(3).lognormal(0, 1, 16)
    found = mix(signals, allocations, losses.tolist())
    places = []
    for m, allocation in enumerate(allocations):
        rest = [index for index in range(16) if index != m]
        own = mix(signals, [allocations[index] for index in rest], losses[rest].tolist())
        places.append(sum(own.predict(allocation) > own.predict(allocations[index]) for index in rest))
        assert own.shrinkage in (math.inf, 1.0, 0.3, 0.1, 0.03)
    assert found.correlation == pytest.approx(rank_correlation(np.array(places, dtype=float), losses), abs=0.25)


def test_on_allocations_it_was_not_fitted_on_it_ranks_better_than_the_best_signal_in_hindsight() -> None:
    """Four signals, each the truth with errors of its own in every layer and cell."""
    ahead = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        truth = table("truth", 100 + seed)
        noise = [
            spread * random.standard_normal((len(LAYERS), 1)) + 0.3 * random.standard_normal((12, 4)) for spread in (0.6, 0.8, 1.0, 1.5)
        ]
        signals = [replace(truth, name=f"s{n}", values=truth.values * np.exp(noisy)) for n, noisy in enumerate(noise)]
        fitted, unseen = draw(24, seed), draw(60, 50 + seed)
        found = mix(signals, fitted, [truth.total(x) * random.lognormal(0, 0.1) for x in fitted])
        measured = np.array([truth.total(x) for x in unseen])
        alone = [rank_correlation(np.array([one.total(x) for x in unseen]), measured) for one in signals]
        ahead.append(rank_correlation(np.array([found.predict(x) for x in unseen]), measured) - max(alone))
    assert np.mean(ahead) > 0
    assert min(ahead) > -0.1


def test_a_signal_that_knows_nothing_does_little_harm() -> None:
    truth = table("truth", 1)
    good = replace(truth, name="good", values=truth.values * np.random.default_rng(0).lognormal(0, 0.3, truth.values.shape))
    junk = [replace(truth, name=f"junk{n}", values=np.random.default_rng(n).lognormal(0, 1, truth.values.shape)) for n in range(4)]
    fitted, unseen = draw(24), draw(60, 5)
    found = mix([good, *junk], fitted, [truth.total(x) for x in fitted])
    assert found.shares["good"] > 0.6
    measured = np.array([truth.total(x) for x in unseen])
    alone = rank_correlation(np.array([good.total(x) for x in unseen]), measured)
    assert rank_correlation(np.array([found.predict(x) for x in unseen]), measured) > alone - 0.1


def test_a_signal_that_is_the_same_everywhere_is_left_out() -> None:
    a = table("a", 1)
    flat = replace(a, name="flat", values=np.ones_like(a.values))
    allocations = draw(12)
    damages = [a.total(x) for x in allocations]
    assert mix([a, flat], allocations, damages).weights["flat"] == 0
    with pytest.raises(DataError, match="no signal of flat tells"):
        mix([flat], allocations, damages)


def test_units_do_not_matter() -> None:
    a, b = table("a", 1), table("b", 2)
    allocations = draw(30)
    damages = [a.total(x) + 0.3 * b.total(x) for x in allocations]
    small = mix([a, b], allocations, damages)
    b_scaled = Table(name="b", unit="nats", layers=LAYERS, choices=CHOICES, values=b.values * 1e-9)
    large = mix([a, b_scaled], allocations, damages)
    assert large.weights["b"] == pytest.approx(small.weights["b"] * 1e9, rel=1e-6)
    np.testing.assert_allclose(large.table.values, small.table.values, rtol=1e-6)


def test_a_loss_below_zero_counts_as_the_smallest() -> None:
    a = table("a", 1)
    allocations = draw(10)
    damages = [a.total(x) for x in allocations]
    damages[0] = -1e-3
    assert math.isfinite(mix([a, table("b", 2)], allocations, damages).correlation)


@pytest.mark.parametrize(
    ("losses", "words"),
    [([0.1] * 3, "at least 4"), ([0.1] * 6, "lose the same"), ([math.nan] + [0.1] * 5, "finite"), ([-1.0] * 6, "lose the same")],
)
def test_what_cannot_be_fitted(losses: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        mix([table("a", 1)], draw(len(losses)), losses)
    with pytest.raises(DataError, match="needs signals"):
        mix([], draw(6), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_signals_that_are_all_wrong_are_averaged_rather_than_left_out() -> None:
    a, b = table("a", 1), table("b", 2)
    allocations = draw(24)
    found = mix([a, b], allocations, [1 / (a.total(x) + b.total(x)) for x in allocations])
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.correlation < 0


def test_a_signal_that_only_one_allocation_tells_apart_does_not_blow_up() -> None:
    a = table("a", 1)
    allocations = [Allocation(dict.fromkeys(LAYERS, CHOICES[0 if index else 3])) for index in range(6)]
    found = mix([a, table("b", 2)], allocations, [0.5, 0.4, 0.3, 0.2, 0.1, 0.6])
    assert np.isfinite(found.table.values).all()
    assert math.isfinite(found.correlation)
