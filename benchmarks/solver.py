"""Time and proof of the allocation solver on networks of growing depth: `python benchmarks/solver.py`.

With `--alone`, HiGHS solves the same programs by itself, all columns at once, right after the solver: its time, and whether it finds the
same allocation or another of the same objective.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Grid

from mpsearch.allocate.highs import branch_and_bound
from mpsearch.allocate.knapsack import Core, Knapsack
from mpsearch.allocate.program import allocation_of, knapsack
from mpsearch.allocate.reach import reachable
from mpsearch.allocate.solve import solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table

BITS = (2, 3, 4, 8)
DEPTHS = (20, 60, 200, 2000)
SEEDS = range(5)
FRACTION = 0.3
"""Where the limits lie between the smallest and the largest total."""
LIMIT = 60.0
"""Seconds for one program."""


def network(kind: str, depth: int, seed: int) -> tuple[ResolvedSpace, Table, dict[str, Table]]:
    """Random layers, scores and costs.

    `network`: weights and multiply-accumulates log-normal, scores that fall as 4^-bits. `noise`: every number of the tables is drawn
    on its own, which leaves the least to prune.
    """
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.normal(10, 1.5, depth)).round().astype(int)
    macs = weights * np.exp(draw.normal(5, 1, depth)).round().astype(int)
    layers = [
        Layer(
            name=f"l{index}",
            module=f"l{index}",
            parameter="weight",
            kind="Conv2d",
            weight_shape=(int(weights[index]),),
            channels=1,
            macs=int(macs[index]),
            input_elements=1,
            output_elements=1,
            act_quantizable=True,
            signed_input=False,
            bias_elements=0,
        )
        for index in range(depth)
    ]
    space = Space(name=kind, weights=BITS, activations=BITS).resolve(layers)
    w = np.array([choice.weight.bits for choice in space.choices])
    a = np.array([choice.activation.bits for choice in space.choices])
    shape = (depth, len(space.choices))
    if kind == "network":
        scores = np.exp(draw.normal(0, 1.5, (depth, 1))) * 4.0**-w + np.exp(draw.normal(0, 1.5, (depth, 1))) * 4.0**-a
        scores = scores * np.exp(draw.normal(0, 0.1, shape))
        size, bops = weights[:, None] * w / 8, macs[:, None] * (w * a)
    else:
        scores, size, bops = draw.random(shape), draw.integers(1, 1000, shape), draw.integers(1, 1000, shape)
    return (
        space,
        _table("score", "nats", space, scores),
        {"size": _table("size", "B", space, size), "bops": _table("bops", "BOPs", space, bops)},
    )


def _table(name: str, unit: str, space: ResolvedSpace, values: object) -> Table:
    return Table(name=name, unit=unit, layers=space.names, choices=space.choices, values=np.asarray(values, dtype=np.float64))


def alone(program: Knapsack) -> NDArray[np.intp]:
    """HiGHS on the whole program: no columns dropped, no prices, nothing enumerated."""
    groups = np.arange(len(program.objective))
    anchor = np.where(program.allowed, program.objective, np.inf).argmin(axis=1)
    scale = float(np.ptp(program.objective[program.allowed])) or 1.0
    core = Core(
        anchor=anchor,
        reduced=np.where(program.allowed, 0.0, np.inf),
        objective=(program.objective - program.objective[groups, anchor][:, None]) / scale,
        costs=program.costs - program.costs[:, groups, anchor][:, :, None],
        rooms=program.room(anchor),
        prices=np.zeros(len(program.limits)),
        slop=1e-13 * np.abs(program.limits),
        scale=scale,
    )
    found = branch_and_bound(program, core, math.inf, LIMIT)
    assert found is not None
    return found.picks


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    parser.add_argument("--alone", action="store_true", help="compare with HiGHS on the whole program")
    asked = parser.parse_args()
    grid = Grid(title=f"{len(SEEDS)} instances each, {len(BITS) ** 2} choices a layer, limits at {FRACTION:.0%} of the reachable range")
    headings = ["tables", "layers", "budgets", "median s", "slowest s", "proven", "largest gap / objective"]
    for heading in headings + ["HiGHS alone: median s", "slowest s", "same allocation", "same objective"] * asked.alone:
        grid.add_column(heading, justify="right")
    measured("noise", 5, 1, asked.alone)  # what is imported on first use is not measured
    for kind in ("network", "noise"):
        for depth in asked.depths:
            for count in (1, 2):
                grid.add_row(kind, str(depth), str(count), *measured(kind, depth, count, asked.alone))
    Console(width=200).print(grid)


def measured(kind: str, depth: int, count: int, compare: bool) -> list[str]:
    """The cells of one row."""
    seconds, gaps, proven = [], [], 0
    others, same, equal = [], 0, 0
    for seed in SEEDS:
        space, score, costs = network(kind, depth, seed)
        budgets = []
        for name in list(costs)[:count]:
            low, high = reachable(space, costs[name])
            budgets.append(Budget(name, low + FRACTION * (high - low), f"{FRACTION:.0%} {name}"))
        begin = time.perf_counter()
        solution = solve(space, score, costs, budgets, time_limit=LIMIT)
        seconds.append(time.perf_counter() - begin)
        gaps.append(solution.gap / abs(solution.objective))
        proven += solution.optimal
        if not compare:
            continue
        program = knapsack(space, score, costs, budgets)
        begin = time.perf_counter()
        try:
            found: Allocation | None = allocation_of(space, alone(program))
        except TimeoutError:
            found = None
        others.append(time.perf_counter() - begin)
        same += found == solution.allocation
        equal += found is not None and math.isclose(score.total(found), solution.objective, rel_tol=1e-12)
    cells = [f"{np.median(seconds):.3f}", f"{max(seconds):.3f}", f"{proven}/{len(SEEDS)}", f"{max(gaps):.1e}"]
    if compare:
        cells += [f"{np.median(others):.3f}", f"{max(others):.3f}", f"{same}/{len(SEEDS)}", f"{equal}/{len(SEEDS)}"]
    return cells


if __name__ == "__main__":
    main()
