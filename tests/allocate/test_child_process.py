"""Branch and bound in a child process: the answers of the same process, its errors, and no byte of standard output touched."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

import numpy as np
import pytest

from mpsearch.allocate.child_process import branch_and_bound_in_child
from mpsearch.allocate.highs import branch_and_bound
from mpsearch.allocate.knapsack import Core, Knapsack

LINE = b"a line of another thread\n"
NOISY = (0, 6, 7)
"""Seeds at which the HiGHS of scipy 1.17 prints when it runs in the same process."""


def problem(seed: int, groups: int = 60) -> tuple[Knapsack, Core]:
    """Two limits and four columns a group, seen from the cheapest column."""
    draw = np.random.default_rng(seed)
    bits = np.array([2.0, 4.0, 6.0, 8.0])
    sizes, operations = (np.exp(draw.normal(8, 1.5, (groups, 1))).round() for _ in range(2))
    objective = np.exp(draw.normal(0, 1.5, (groups, 1))) * 4.0**-bits * draw.uniform(0.9, 1.1, (groups, 4))
    costs = np.stack([sizes * bits, operations * bits])
    limits = (costs.sum(axis=(1, 2)) / 5).round()
    anchor = np.zeros(groups, dtype=np.intp)
    program = Knapsack(objective=objective, costs=costs, base=np.zeros(2), limits=limits, allowed=np.ones(objective.shape, dtype=np.bool_))
    core = Core(
        anchor=anchor,
        reduced=np.zeros(objective.shape),
        objective=objective - objective[:, :1],
        costs=costs - costs[:, :, :1],
        rooms=limits - costs[:, :, 0].sum(axis=1),
        prices=np.zeros(2),
        slop=1e-13 * limits,
        scale=1.0,
    )
    return program, core


@pytest.mark.parametrize("seed", range(2))
def test_the_answer_is_that_of_the_same_process(seed: int) -> None:
    program, core = problem(seed)
    here, there = branch_and_bound(program, core, np.inf, 60.0), branch_and_bound_in_child(program, core, np.inf, 60.0)
    assert here is not None
    assert there is not None
    assert there.picks.tolist() == here.picks.tolist()
    assert there.unproven == here.unproven == 0.0
    assert program.accepts(there.picks)


def test_nothing_that_fits_is_no_answer() -> None:
    program, core = problem(0)
    tight = Core(**{**core.__dict__, "rooms": np.full(2, -1.0)})
    assert branch_and_bound_in_child(program, tight, np.inf, 60.0) is None


def test_a_child_that_fails_says_why() -> None:
    program, core = problem(0)
    broken = Core(**{**core.__dict__, "costs": core.costs[:, :3]})
    with pytest.raises(RuntimeError, match="ended with status 1: IndexError"):
        branch_and_bound_in_child(program, broken, np.inf, 60.0)


@pytest.mark.skipif(sys.platform == "win32", reason="flushes the C library's buffers by its POSIX name")
def test_standard_output_holds_what_other_threads_write_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    solved, written = threading.Event(), 0

    def solve() -> None:
        try:
            for seed in NOISY:
                branch_and_bound_in_child(*problem(seed), np.inf, 60.0)
        finally:
            solved.set()

    thread = threading.Thread(target=solve)
    thread.start()
    while not solved.wait(0.001):
        os.write(1, LINE)
        written += 1
    thread.join()
    ctypes.CDLL(None).fflush(None)
    assert written > 100
    assert capfd.readouterr().out == (LINE * written).decode()
