"""`run_details`: what the report of a finished run says beyond its summary: what its surrogate expects, and the commands of each point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import MpsearchError
from mpsearch.core.summary import Summary
from mpsearch.report.info.explorer import Expected, RunDetails
from mpsearch.run.expectation import Expectation
from mpsearch.run.finished_run import Finished, checked_with_space
from mpsearch.run.next_steps import NextSteps

__all__ = ["run_details"]

_MOST_TRIALS = 500
"""A surrogate of more takes minutes."""


def run_details(run_dir: Path, summary: Summary) -> RunDetails:
    """What the directory of a run tells beyond its summary; why it tells nothing, if it does.

    Args:
        run_dir: its folder.
        summary: its results.
    """
    try:
        finished = checked_with_space(run_dir, summary)
        steps = NextSteps(finished)
        commands = {point.allocation: tuple(steps.of(point)) for point in finished.measured}
        return RunDetails(expected=_expected(finished), commands=commands)
    except (MpsearchError, OSError) as error:
        return RunDetails(missing=f"Commands and expectations are missing here: {error}.")


def _expected(finished: Finished) -> Mapping[Allocation, Expected]:
    if not finished.searched or len(finished.summary.trials) > _MOST_TRIALS:
        return {}
    expectation = Expectation(finished)
    found = {}
    for point in finished.measured:
        metric, (low, high) = expectation.metric(point.allocation)
        found[point.allocation] = Expected(metric=metric, low=low, high=high, rung=expectation.rung)
    return found
