"""One record as a point, and what several figures ask of records."""

from __future__ import annotations

import math
from dataclasses import replace

from mpsearch.core.record import Score
from mpsearch.report.info.points import (
    bits_lines,
    close_up,
    completed,
    drawn,
    drawn_text,
    higher_is_better,
    point,
    rung_order,
    uniform_text,
)
from tests.report.summaries import make_summary, make_trial


def test_a_point_is_the_record_at_its_deepest_rung() -> None:
    record = next(trial for trial in make_summary().trials if trial.rung == "long")
    made = point(record, "size")
    assert (made.number, made.origin, made.rung, made.amount) == (record.number, record.origin, "long", record.costs["size"])
    assert (made.metric, made.error, made.loss) == (record.scores["long"].metric, record.scores["long"].error, record.scores["long"].loss)
    assert math.isnan(point(record).amount)


def test_records_that_failed_are_left_out() -> None:
    record = make_trial(0, size=10, metric=0.5)
    assert completed([record, replace(record, status="failed")]) == [record]


def test_what_no_axis_can_hold_is_left_out() -> None:
    """A perplexity may overflow before any training."""
    record = make_trial(0, size=10, metric=0.5)
    assert completed([record, replace(record, scores={"ptq": Score(loss=900.0, error=math.inf, metric=math.inf)})]) == [record]


def test_of_thousands_every_nth_is_drawn_and_those_to_be_seen() -> None:
    few = [object() for _ in range(1000)]
    assert drawn(few) == tuple(few)
    assert drawn(()) == ()
    many = [object() for _ in range(2001)]
    shown = drawn(many, [many[1], many[1400]])
    assert shown == tuple(item for place, item in enumerate(many) if place % 3 == 0 or place in (1, 1400))
    assert len(drawn(many, many)) <= 2000
    assert drawn(few, most=10) == tuple(few[::100])
    assert drawn_text(5, 5) == ""
    assert drawn_text(2003, 6001) == " 2,003 of these trials are drawn."


def test_a_delivered_network_that_was_only_calibrated_stands_on_the_first_rung() -> None:
    winner = make_summary().winner
    rungs = [point(record).rung for record in (winner, replace(winner, curve=()), replace(winner, note="worse"))]
    assert rungs == ["full", "ptq", "ptq"]


def test_close_up_of_equal_or_no_points_has_a_width() -> None:
    (low, high), hidden = close_up((), (), (0.5,), True)
    assert low < 0.5 < high
    assert hidden == 0
    assert close_up((), (), (), True) == ((0.0, 1.0), 0)


def test_direction_of_the_metric_is_read_off_the_scores() -> None:
    errors = [Score(loss=1, error=error, metric=error) for error in (0.1, 0.2)]
    assert not higher_is_better(errors)
    assert higher_is_better([replace(score, metric=-score.error) for score in errors])
    assert higher_is_better([])


def test_rungs_come_shallowest_first_and_unknown_ones_last() -> None:
    assert rung_order(["long", "odd", "ptq", "long"]) == ("ptq", "long", "odd")


def test_bits_in_hover_group_layers_and_stay_short() -> None:
    summary = make_summary()
    lines = bits_lines(summary.trials[0].allocation)
    assert len(lines) <= 14
    assert all(len(line) <= 64 for line in lines)
    named = " ".join(lines).replace(",", "").split()
    assert {layer.name for layer in summary.layers} <= set(named)


def test_uniform_is_named_by_its_commonest_choice() -> None:
    uniform = make_summary().uniform
    assert uniform is not None
    assert uniform_text(uniform.allocation) == "w2af"
    pinned = type(uniform.allocation).from_dict({**uniform.allocation.to_dict(), "conv1": "w8af"})
    assert uniform_text(pinned) == "w2af except 1 layer"
