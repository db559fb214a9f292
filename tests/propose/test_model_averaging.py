"""Models weigh their prior odds before anything is measured; afterwards those that predict weigh more, and misleading signals lose."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.propose.model_averaging import PriorModel, posterior_weights
from mpsearch.propose.prior_signals import informative_signals
from mpsearch.propose.searcher import Searcher
from mpsearch.propose.surrogate.kernel import Metric
from mpsearch.propose.surrogate.model import Evidence, Surrogate, fit_surrogate
from tests.propose.worlds import World, played, table

GROUPS = 6
COORDINATES = np.stack([np.log2([1.0, 2.0, 4.0, 8.0]), np.full(4, 5.0)], axis=1)
ERRORS = np.array([1.0, 0.25, 0.05, 0.0])


def prior(seed: int, odds: float) -> PriorModel:
    random = np.random.default_rng(seed)
    signals = np.exp(random.normal(0, 1.5, (1, GROUPS, 1))) * ERRORS
    return PriorModel(odds=odds, signals=signals, metric=Metric(coordinates=COORDINATES, shares=np.full(GROUPS, 1 / GROUPS)))


def evidence_under(truth: PriorModel, count: int) -> Evidence:
    picks = np.random.default_rng(5).integers(0, 4, (count, GROUPS)).astype(np.intp)
    damage = truth.signals[0][np.arange(GROUPS), picks].sum(axis=1)
    return Evidence(picks=picks, rungs=np.zeros(count, dtype=np.intp), values=np.log(0.3 + damage))


def weights(priors: list[PriorModel], evidence: Evidence) -> np.ndarray:
    return posterior_weights(priors, [one.fitted(evidence, 1) for one in priors])


def test_weights_are_the_odds_where_nothing_was_measured() -> None:
    priors = [prior(0, 4.0), prior(1, 1.0)]
    np.testing.assert_allclose(weights(priors, evidence_under(priors[0], 0)), [0.8, 0.2])


@pytest.mark.parametrize("right", [0, 1])
def test_weight_goes_to_the_model_that_predicts(right: int) -> None:
    priors = [prior(0, 4.0), prior(1, 1.0)]
    few, many = (weights(priors, evidence_under(priors[right], count))[right] for count in (4, 25))
    assert many > 0.98
    assert many > few


def test_likelihood_is_the_density_of_the_values() -> None:
    from scipy.stats import multivariate_normal

    one = prior(2, 1.0)
    fitted: Surrogate = fit_surrogate(one.metric, one.signals, evidence_under(prior(3, 1.0), 9), 1)
    expected = multivariate_normal(cov=fitted.factor @ fitted.factor.T).logpdf(fitted.residuals)
    assert fitted.likelihood == pytest.approx(expected)


def test_a_proposal_has_the_most_improvement_averaged_over_the_models() -> None:
    world = World(20)
    wrong = [table(world.space, signal.values[::-1].copy(), signal.name) for signal in world.signals]
    searcher = world.searcher(signals=wrong)
    observations, _ = played(searcher, world.loss, 4)
    models = searcher.models(observations, ())
    assert len(models) == 2
    alone = [searcher.sought([model], searcher.levels, set(), np.random.default_rng(0)) for model in models]
    both = searcher.sought(models, searcher.levels, set(), np.random.default_rng(0))
    assert both is not None
    assert any(one is not None and (one.picks == both.picks).all() for one in alone)
    assert both.improvement <= max(one.improvement for one in alone if one is not None)


@pytest.mark.slow
def test_signals_that_mislead_are_left_for_what_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = [World(seed) for seed in range(20, 36)]
    wrong = [[table(w.space, signal.values[np.argsort(-signal.values[::-1, 0])], signal.name) for signal in w.signals] for w in worlds]
    doubting = [lag(world, world.searcher(signals=signals)) for world, signals in zip(worlds, wrong, strict=True)]
    trusting = []
    for world, signals in zip(worlds, wrong, strict=True):
        misled = informative_signals(world.searcher(signals=signals).indexed, signals)[0]
        monkeypatch.setattr("mpsearch.propose.searcher.uninformative_signal", lambda indexed, misled=misled: misled)
        trusting.append(lag(world, world.searcher(signals=signals)))
    assert np.mean(trusting) > np.mean(doubting)


def lag(world: World, searcher: Searcher) -> float:
    """Mean over the first trials of log(best so far / best)."""
    losses = [o.losses["ptq"] for o in played(searcher, world.loss, 10)[0]]
    return float(np.log(np.minimum.accumulate(losses) / world.best).mean())


def test_without_signals_there_is_one_model() -> None:
    assert len(World(0).searcher(signals=[]).priors) == 1
    assert len(World(0).searcher().priors) == 2
