"""Kills at writes: the run goes on and ends as the run that nobody killed."""

from __future__ import annotations

import pytest

from benchmarks.reliability.kills import rounds


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "ended"])
def test_a_run_that_is_killed_at_a_write_ends_as_if_undisturbed(variant: str) -> None:
    found = rounds(variant, 3, 7, False, lambda line: None)
    assert found["points"] > 100
    assert (found["rounds"], found["same"], found["differ"]) == (3, 3, [])
