"""Laws of the surrogate: what was measured is known, leaving out is refitting, names and order of layers do not matter."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpsearch.propose.surrogate.fit import default_kernel, fit_kernel
from mpsearch.propose.surrogate.kernel import Kernel, Metric
from mpsearch.propose.surrogate.model import Evidence, Surrogate, conditioned, fit_surrogate

Floats = NDArray[np.float64]
BITS = np.log2([1.0, 2.0, 4.0, 8.0])
COORDINATES = np.stack([BITS, np.full(4, 5.0)], axis=1)


def metric(groups: int, seed: int = 0) -> Metric:
    shares = np.random.default_rng(seed).random(groups) + 0.1
    return Metric(coordinates=COORDINATES, shares=shares / shares.sum())


def world(seed: int, groups: int = 5, count: int = 12, rungs: int = 1) -> tuple[Metric, Floats, Evidence]:
    random = np.random.default_rng(seed)
    signals = random.random((2, groups, 1)) * np.array([1.0, 0.25, 0.05, 0.0]) + 1e-3
    picks = np.unique(random.integers(0, 4, (count, groups)), axis=0)
    of_rung = np.arange(len(picks)) % rungs
    damage = signals.mean(axis=0)[np.arange(groups), picks].sum(axis=1)
    values = np.log(0.3 + damage) * (1 - 0.3 * of_rung) - 0.2 * of_rung + random.normal(0, 0.05, len(picks))
    return metric(groups, seed), signals, Evidence(picks=picks.astype(np.intp), rungs=of_rung.astype(np.intp), values=values)


def quiet(surrogate: Surrogate) -> Surrogate:
    """The same without noise."""
    kernel = replace(surrogate.kernel, noises=np.full(len(surrogate.kernel.noises), 1e-5))
    return conditioned(surrogate.metric, surrogate.signals, surrogate.evidence, surrogate.prior, kernel)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_what_was_measured_without_noise_is_known(seed: int) -> None:
    space, signals, evidence = world(seed)
    mean, deviation = quiet(fit_surrogate(space, signals, evidence, 1)).predict(evidence.picks)
    np.testing.assert_allclose(mean, evidence.values, atol=1e-4)
    assert (deviation < 1e-3).all()


@given(st.integers(0, 10_000), st.integers(0, 14), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_deviation_is_real_and_shrinks_with_evidence(seed: int, count: int, rungs: int) -> None:
    space, signals, evidence = world(seed, count=max(count, 1), rungs=rungs)
    evidence = Evidence(picks=evidence.picks[:count], rungs=evidence.rungs[:count], values=evidence.values[:count])
    surrogate = fit_surrogate(space, signals, evidence, rungs)
    everywhere = np.random.default_rng(seed).integers(0, 4, (40, 5)).astype(np.intp)
    mean, deviation = surrogate.predict(everywhere)
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()
    _, less = surrogate.with_pending(everywhere[:3]).predict(everywhere)
    assert (less <= deviation * (1 + 1e-6) + 1e-6).all()


@pytest.mark.parametrize("rungs", [1, 2])
def test_left_out_is_what_a_refit_without_it_predicts(rungs: int) -> None:
    space, signals, evidence = world(3, rungs=rungs)
    whole = fit_surrogate(space, signals, evidence, rungs)
    mean, deviation = whole.leave_one_out()
    for index in np.flatnonzero(evidence.rungs == rungs - 1):
        rest = np.arange(len(evidence.values)) != index
        part = Evidence(picks=evidence.picks[rest], rungs=evidence.rungs[rest], values=evidence.values[rest])
        refit = conditioned(space, signals, part, whole.prior, whole.kernel, centre=whole.centre)
        brute_mean, brute_deviation = refit.predict(evidence.picks[[index]])
        assert mean[index] == pytest.approx(brute_mean[0], abs=1e-8)
        assert deviation[index] == pytest.approx(np.hypot(brute_deviation[0], whole.kernel.noises[-1]), abs=1e-8)


def test_order_of_layers_does_not_matter() -> None:
    space, signals, evidence = world(5)
    order = np.array([3, 0, 4, 1, 2])
    turned = Evidence(picks=evidence.picks[:, order], rungs=evidence.rungs, values=evidence.values)
    one = fit_surrogate(space, signals, evidence, 1)
    other = fit_surrogate(replace(space, shares=space.shares[order]), signals[:, order], turned, 1)
    asked = np.random.default_rng(0).integers(0, 4, (20, 5)).astype(np.intp)
    for first, second in zip(one.predict(asked), other.predict(asked[:, order]), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_more_of_the_same_signal_changes_nothing_but_its_name() -> None:
    space, signals, evidence = world(6)
    once = fit_surrogate(space, signals[:1], evidence, 1)
    twice = fit_surrogate(space, np.repeat(signals[:1], 2, axis=0), evidence, 1)
    np.testing.assert_allclose(once.predict(evidence.picks)[0], twice.predict(evidence.picks)[0], atol=1e-3)


def test_gradient_of_the_fit_is_the_slope_of_its_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy import optimize

    space, _, evidence = world(7, rungs=2)
    checked = []

    def check(objective, start, **options):  # type: ignore[no-untyped-def]
        for theta in (start, start + 0.3, start - 0.2):
            _, slope = objective(theta)
            step = 1e-5
            for axis in range(len(theta)):
                move = np.eye(len(theta))[axis] * step
                brute = (objective(theta + move)[0] - objective(theta - move)[0]) / (2 * step)
                assert slope[axis] == pytest.approx(brute, rel=1e-4, abs=1e-4)
                checked.append(axis)
        return SimpleNamespace(x=start)

    monkeypatch.setattr(optimize, "minimize", check)
    scales = np.array([0.8, 1.3])[evidence.rungs]
    fit_kernel(space, evidence.picks, evidence.values, scales, evidence.rungs, np.full((len(scales),) * 2, 0.1), 2)
    assert len(checked) == 3 * 9


def test_histogram_says_the_same_as_the_kernel() -> None:
    space, _, evidence = world(8)
    kernel = Kernel(additive=0.7, product=0.4, lengths=(1.1, 0.9, 1.7), stretch=0.8, drift=0.5, noises=np.array([0.1]))
    weight = space.histogram(evidence.picks)
    np.testing.assert_allclose(weight.sum(axis=0), 1.0)
    apart = kernel.scaled(space.kinds[0])
    additive, product = space.between(kernel, evidence.picks, evidence.picks)
    np.testing.assert_allclose(additive, 0.49 * np.tensordot(np.exp(-0.5 * apart), weight, axes=1), atol=1e-12)
    np.testing.assert_allclose(product, 0.16 * np.exp(-0.5 * np.tensordot(apart, weight, axes=1) / 0.64), atol=1e-12)


def test_choices_that_differ_keep_a_distance_however_near_their_bits() -> None:
    near = Metric(coordinates=np.log2([[4.0, 8.0], [4.0 + 1e-9, 8.0], [8.0, 8.0]]), shares=np.ones(1))
    kernel = Kernel(additive=1.0, product=1.0, lengths=(1.0, 1.0, 2.0), stretch=1.0, drift=0.5, noises=np.array([0.1]))
    additive, product = near.between(kernel, np.array([[0]]), np.array([[0], [1], [2]]))
    expected = np.exp(-0.5 * np.array([[0.0, 0.25, 1.25]]))
    np.testing.assert_allclose(additive, expected, atol=1e-8)
    np.testing.assert_allclose(product, expected, atol=1e-8)


def test_samples_have_the_mean_of_the_posterior() -> None:
    space, signals, evidence = world(9)
    surrogate = fit_surrogate(space, signals, evidence, 1)
    random = np.random.default_rng(0)
    drawn = np.mean([surrogate.linear(0.5, random) for _ in range(400)], axis=0)
    spread = surrogate.prior.slopes[0] * surrogate.kernel.additive * np.sqrt(space.shares.max())
    assert np.abs(drawn - surrogate.linear(0.5)).max() < 5 * spread / np.sqrt(400) + 0.1 * np.abs(surrogate.damage_table).max()


def test_calibration_of_a_well_kept_surrogate() -> None:
    space, signals, evidence = world(10, groups=8, count=120)
    trust = fit_surrogate(space, signals, evidence, 1).calibration()
    assert trust.count == len(evidence.values)
    assert trust.correlation > 0.8
    assert 0.3 < trust.covered50 < 0.7
    assert 0.8 < trust.covered90 <= 1.0


def test_later_rungs_have_offsets_and_scales_of_their_own() -> None:
    space, signals, evidence = world(11, groups=6, count=60, rungs=2)
    prior = fit_surrogate(space, signals, evidence, 2).prior
    assert prior.offsets[1] < prior.offsets[0]
    assert prior.slopes[1] < prior.slopes[0]


def test_nothing_measured_is_the_prior() -> None:
    space, signals, _ = world(12)
    nothing = Evidence(picks=np.zeros((0, 5), dtype=np.intp), rungs=np.zeros(0, dtype=np.intp), values=np.zeros(0))
    surrogate = fit_surrogate(space, signals, nothing, 1)
    assert surrogate.kernel.additive == default_kernel(1).additive
    rich, poor = (np.full((1, 5), pick, dtype=np.intp) for pick in (3, 0))
    assert surrogate.predict(rich)[0] < surrogate.predict(poor)[0]
    assert surrogate.linear(1.0, np.random.default_rng(0)).shape == (5, 4)
