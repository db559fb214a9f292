"""What a proposal costs, for networks of growing depth and studies of growing length: `python benchmarks/proposal.py`.

Seconds of one thread and peak memory of one proposal, fit included, each in a process of its own; the budget is a third of the way
between the smallest and the largest file. `--most N` lets surrogates be conditioned on so many measurements; with a number above that of
the trials, on all, as was done before there was a subset.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from scipy.stats import spearmanr

from mpsearch.allocate.reach import reachable
from mpsearch.allocate.solve import solve
from mpsearch.core.budget import Budget
from mpsearch.core.layer import Layer
from mpsearch.core.space import Space
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher
from mpsearch.propose.surrogate.subset import MOST, subset_of

BITS = (2, 3, 4, 8)
DEPTHS = (20, 200)
TRIALS = (100, 1000, 5000, 20000)
FRACTION = 0.3
OTHERS = 200
"""Allocations near the optimum that were not measured."""
SWEEP = (0.85, 1.2)
"""As in the shipped studies."""


def searcher(depth: int, seed: int = 0) -> tuple[Searcher, Table]:
    """Random layers, two signals that are wrong by a third, and the truth."""
    random = np.random.default_rng(seed)
    weights = np.exp(random.normal(8, 1.5, depth)).astype(int) + 1
    layers = [
        Layer(
            name=f"l{i}",
            module=f"l{i}",
            parameter="weight",
            kind="Linear",
            weight_shape=(1, int(count)),
            channels=1,
            macs=int(count),
            input_elements=1,
            output_elements=1,
            act_quantizable=True,
            signed_input=False,
            bias_elements=0,
        )
        for i, count in enumerate(weights)
    ]
    space = Space(name="random", weights=BITS).resolve(layers)
    bits = np.array(BITS, dtype=np.float64)
    size = Table(name="size", unit="B", layers=space.names, choices=space.choices, values=np.ceil(weights[:, None] * bits / 8))
    true = np.exp(random.normal(0, 1.2, (depth, 1))) * 4.0 ** -(bits - 1) / depth

    def table(name: str, spread: float) -> Table:
        values = true * np.exp(random.normal(0, spread, true.shape))
        return Table(name=name, unit="nats", layers=space.names, choices=space.choices, values=values)

    smallest, largest = reachable(space, size)
    budget = Budget("size", float(int(smallest + FRACTION * (largest - smallest))), "budget")
    signals = [table("fisher", 0.3), table("measured", 0.3)]
    return Searcher(space, signals, {"size": size}, [budget], sweep=SWEEP), table("truth", 0.0)


def study(found: Searcher, truth: Table, trials: int, seed: int = 0) -> list[Observation]:
    """Allocations around the optimum, a tenth of the layers moved, as if they had been measured."""
    random = np.random.default_rng(seed)
    indexed = found.indexed
    optimum = indexed.picks(solve(indexed.space, truth, indexed.costs, indexed.budgets).allocation)
    observations: list[Observation] = []
    while len(observations) < trials:
        moved = optimum + (random.random(optimum.shape) < 0.1) * random.choice([-1, 1], size=optimum.shape)
        allocation = indexed.allocation(np.clip(moved, 0, len(BITS) - 1))
        if len(observations) < 3:  # the optima that are proposed first, whatever else was measured
            allocation = found.propose(observations).allocation
        loss = (0.2 + truth.total(allocation)) * float(np.exp(random.normal(0, 0.02)))
        observations.append(Observation(allocation=allocation, losses={"ptq": loss}))
    return observations


def measured(
    found: Searcher, known: list[Observation], others: list[Observation], truth: Table, pipe: multiprocessing.connection.Connection
) -> None:
    """Send (seconds, bytes above what was held before, rank correlation of predicted and true loss of allocations not measured)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started = _memory("VmRSS"), time.process_time()
    found.propose(known)
    seconds, peak = time.process_time() - started, _memory("VmHWM") - before
    means, _ = found.surrogate(known).predict(found.indexed.stacked([o.allocation for o in others]))
    pipe.send((seconds, peak, float(spearmanr(means, [truth.total(o.allocation) for o in others]).statistic)))


def _memory(field: str) -> int:
    """Bytes, from Linux."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    parser.add_argument("--trials", type=int, nargs="+", default=list(TRIALS))
    parser.add_argument("--most", type=int, default=MOST, help="measurements that a surrogate is conditioned on")
    asked = parser.parse_args()
    grid = Grid("layers", "trials", "seconds", "peak, MB", "rank correlation", title=f"Cost of a proposal, at most {asked.most:,}")
    context = multiprocessing.get_context("fork")
    for depth in asked.depths:
        found, truth = searcher(depth)
        everything = study(found, truth, max(asked.trials) + OTHERS)
        others = everything[-OTHERS:]
        for trials in asked.trials:
            ours, theirs = context.Pipe()
            child = context.Process(target=measured, args=(found, everything[:trials], others, truth, theirs))
            with patch("mpsearch.propose.surrogate.model.subset_of", partial(subset_of, most=asked.most)):
                child.start()  # a copy of this process, with that
            seconds, peak, correlation = ours.recv()
            child.join()
            print(f"{depth} {trials}: {seconds:.2f} s, {peak / 1e6:.0f} MB, {correlation:.3f}", flush=True)
            grid.add_row(f"{depth:,}", f"{trials:,}", f"{seconds:.2f}", f"{peak / 1e6:.0f}", f"{correlation:.3f}")
    Console().print(grid)


if __name__ == "__main__":
    main()
