"""Time and proof of the allocation solver on networks of growing depth: `python benchmarks/solver.py`."""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from mpsearch.allocate.reach import reachable
from mpsearch.allocate.solve import solve
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table

BITS = (2, 3, 4, 8)
DEPTHS = (20, 60, 200, 2000)
SEEDS = range(5)
FRACTION = 0.3
"""Where the limits lie between the smallest and the largest total."""


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


def main() -> None:
    assert len({Choice(w, a) for w in BITS for a in BITS}) == 16
    grid = Grid(title=f"{len(SEEDS)} instances each, 16 choices a layer, limits at {FRACTION:.0%} of the reachable range")
    for heading in ("tables", "layers", "budgets", "median s", "slowest s", "proven", "largest gap / objective"):
        grid.add_column(heading, justify="right")
    for kind in ("network", "noise"):
        for depth in DEPTHS:
            for count in (1, 2):
                seconds, gaps, proven = [], [], 0
                for seed in SEEDS:
                    space, score, costs = network(kind, depth, seed)
                    budgets = []
                    for name in list(costs)[:count]:
                        low, high = reachable(space, costs[name])
                        budgets.append(Budget(name, low + FRACTION * (high - low), f"{FRACTION:.0%} {name}"))
                    begin = time.perf_counter()
                    solution = solve(space, score, costs, budgets)
                    seconds.append(time.perf_counter() - begin)
                    gaps.append(solution.gap / abs(solution.objective))
                    proven += solution.optimal
                grid.add_row(
                    kind,
                    str(depth),
                    str(count),
                    f"{np.median(seconds):.3f}",
                    f"{max(seconds):.3f}",
                    f"{proven}/{len(SEEDS)}",
                    f"{max(gaps):.1e}",
                )
    Console().print(grid)


if __name__ == "__main__":
    main()
