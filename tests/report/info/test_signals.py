from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mpsearch.report.info import signal_infos, spearman
from tests.report.summaries import make_summary

PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30)


@given(PAIRS)
def test_spearman_agrees_with_scipy_ties_included(pairs: list[tuple[int, int]]) -> None:
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    ours = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(float(spearmanr(a, b).statistic), abs=1e-12)


def test_spearman_of_two_values_says_nothing() -> None:
    assert spearman([1, 2], [1, 2]) is None


def test_pairs_hold_the_tables_total_against_the_loss_without_training() -> None:
    summary = make_summary()
    info = signal_infos(summary)[0]
    assert len(info.pairs) == 19
    first = summary.trials[0]
    assert info.pairs[0].predicted == pytest.approx(summary.tables[0].total(first.allocation))
    assert info.pairs[0].measured == first.scores["ptq"].loss
    assert info.rho is not None
    assert info.rho > 0.7
    assert info.float_loss == 0.361


def test_trials_that_were_only_trained_are_left_out() -> None:
    summary = make_summary()
    trained = replace(summary.trials[0], rung="long", scores={"long": summary.trials[0].scores["long"]})
    (one, _) = signal_infos(replace(summary, trials=(trained, summary.trials[1])))
    assert [pair.number for pair in one.pairs] == [1]
    assert one.rho is None
    (none, _) = signal_infos(replace(summary, trials=(trained,)))
    assert none.pairs == ()
    assert "No trial" in none.empty


def test_axes_are_logarithmic_where_values_span_a_factor_of_twenty() -> None:
    summary = make_summary()
    losses = iter([0.1, 2.5] * 10)
    trials = tuple(replace(t, scores={"ptq": replace(t.scores["ptq"], loss=next(losses))}, rung="ptq") for t in summary.trials if t.scores)
    info = signal_infos(replace(summary, trials=trials))[0]
    assert info.log_measured
    assert not info.log_predicted


def test_without_tables_there_is_nothing() -> None:
    assert signal_infos(replace(make_summary(), tables=())) == ()
