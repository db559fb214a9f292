from __future__ import annotations

from dataclasses import replace

from mpsearch.core.summary import Comparison
from mpsearch.report.info import delivery_lines, facts, replaced_sentence
from mpsearch.report.info.delivery import noise_text
from tests.report.summaries import make_summary


def test_a_uniform_network_in_place_of_mixed_bits_is_said_with_both_figures() -> None:
    plain = make_summary()
    assert plain.uniform is not None
    chosen = Comparison(rival="uniform w2af", gain=0.0118, noise=0.004, delivered=True)
    summary = replace(
        plain,
        winner=plain.uniform,
        searched=plain.winner,
        noise=0.0051,
        comparisons=(chosen, Comparison(rival="trial 3", gain=-0.02, noise=1e30)),
        test={**plain.test, "winner": plain.test["uniform"], "searched": plain.test["winner"]},
    )
    assert summary.mixed is plain.winner
    sentence = replaced_sentence(summary)
    shown = [f"{100 * record.score.metric:.2f} %" for record in (plain.uniform, plain.winner)]
    for words in ("Mixed bits gained nothing here", "uniform w2af has", *shown, "(+1.18 ± 0.40 points on the same samples)"):
        assert words in sentence
    lines = delivery_lines(summary)
    assert lines[0] == sentence
    assert "0.51 points" in lines[1]
    assert "trial 3" in lines[2]
    assert "unknown" in lines[2]
    assert facts(summary).verdict == facts(plain).verdict  # mixed against uniform, whichever is delivered


def test_both_uniform_figures_are_shown() -> None:
    plain = make_summary()
    assert plain.uniform is not None
    summary = replace(plain, uniform_spent=plain.winner, test={**plain.test, "uniform_spent": plain.test["winner"]})
    assert "with what they leave of the budget spent" in delivery_lines(summary)[-1]
    assert "89.01 % with the rest of the budget spent" in facts(summary).verdict.sentence


def test_nothing_is_said_of_a_winner_without_rivals() -> None:
    assert delivery_lines(make_summary()) == ()
    assert noise_text("MSE", 0.00314) == "0.0031"
