"""When a study ends, and what it says then."""

from __future__ import annotations

import pytest

from mpsearch.study.stopping import Outlook, Stopping

HOPE, FLAT = Outlook(improvement=0.02, noise=0.02), Outlook(improvement=0.0009, noise=0.02)


def test_count_is_the_last_word() -> None:
    rule = Stopping(trials=2)
    assert rule.reason([HOPE], 1e9) is None
    assert rule.reason([HOPE, HOPE], 0.0) == "2 trials are done"


def test_time() -> None:
    rule = Stopping(trials=100, seconds=60.0)
    assert rule.reason([], 1e9) is None, "a study of no trial is none"
    assert rule.reason([HOPE], 59.9) is None
    assert rule.reason([HOPE], 60.0) == "the time of 60 s is spent after 1 trials"


def test_flat_takes_three_in_a_row() -> None:
    rule = Stopping(trials=100, until_flat=True)
    assert rule.reason([FLAT, FLAT], 0.0) is None
    assert rule.reason([FLAT, FLAT, HOPE, FLAT, FLAT], 0.0) is None
    assert rule.reason([HOPE, FLAT, FLAT, FLAT], 0.0) == "the expected improvement fell under the noise after 4 trials"
    assert Stopping(trials=100).reason([FLAT] * 10, 0.0) is None


def test_a_proposal_without_a_surrogate_is_never_flat() -> None:
    assert Stopping(trials=100, until_flat=True).reason([Outlook()] * 10, 0.0) is None


@pytest.mark.parametrize(("rule", "open_ended"), [({}, False), ({"seconds": 5.0}, True), ({"until_flat": True}, True)])
def test_open_ended(rule: dict[str, float], open_ended: bool) -> None:
    assert Stopping(trials=10, **rule).open_ended is open_ended  # type: ignore[arg-type]
