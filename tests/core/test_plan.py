from __future__ import annotations

from mpsearch.core.plan import Plan, PlannedPhase


def test_the_time_of_a_run_is_that_of_its_phases() -> None:
    phases = tuple(PlannedPhase(name=str(n), what="", forwards=1, backwards=0, seconds=n) for n in (1, 2, 4))
    assert Plan(phases=phases, based_on=()).seconds == 7
