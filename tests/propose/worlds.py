"""Made-up networks with the loss of every allocation, and searches in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats
from mpsearch.core.budget import Budget
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation, Proposal
from mpsearch.propose.searcher import Searcher

BITS = (1, 2, 4, 8)


def space_of(weights: Sequence[int], **menus: object) -> ResolvedSpace:
    layers = [
        Layer(
            name=f"l{i}",
            module=f"l{i}",
            parameter="weight",
            kind="Linear",
            weight_shape=(1, count),
            channels=1,
            macs=count,
            input_elements=1,
            output_elements=1,
            act_quantizable=True,
            signed_input=False,
            bias_elements=0,
        )
        for i, count in enumerate(weights)
    ]
    return Space(name="s", weights=BITS, **menus).resolve(layers)  # type: ignore[arg-type]


def table(space: ResolvedSpace, values: Floats, name: str, unit: str = "nats") -> Table:
    return Table(name=name, unit=unit, layers=space.names, choices=space.choices, values=values)


class World:
    """Every allocation of a made-up network and its loss: an additive truth, interactions between pairs, saturation and a little noise."""

    def __init__(self, seed: int, groups: int = 6) -> None:
        random = np.random.default_rng(seed)
        weights = np.exp(random.normal(6, 0.8, groups)).astype(int) + 8
        self.space = space_of(weights.tolist())
        bits = np.array(BITS, dtype=np.float64)
        self.size = table(self.space, weights[:, None] * bits, "size", "B")
        damage = np.exp(random.normal(0, 1, (groups, 1))) * 4.0 ** -(bits - 1) * np.exp(random.normal(0, 0.3, (groups, len(BITS))))
        self.signals = [table(self.space, damage * np.exp(random.normal(0, 0.6, damage.shape)), name) for name in ("fisher", "measured")]
        picks = np.array(list(itertools.product(range(len(BITS)), repeat=groups)))
        cells = damage[np.arange(groups), picks]
        roots = np.sqrt(cells)
        pairs = np.einsum("ni,ij,nj->n", roots, np.triu(random.normal(0, 0.3, (groups, groups)), 1), roots)
        total = np.maximum(cells.sum(axis=1) + np.maximum(pairs, -0.5 * cells.sum(axis=1)), 1e-3)
        loss = (0.2 + 2.3 * -np.expm1(-total / 2.3)) * np.exp(random.normal(0, 0.005, len(picks)))
        sizes = self.size.values[np.arange(groups), picks].sum(axis=1)
        self.limit = float(np.floor(weights.sum() * 2.5))
        self.losses = dict(zip(map(tuple, picks.tolist()), loss.tolist(), strict=True))
        self.sizes = dict(zip(self.losses, sizes.tolist(), strict=True))
        self.inside = sizes <= self.limit
        self.best = float(loss[self.inside].min())
        self.budgets = [Budget("size", self.limit, "b")]

    def searcher(self, seed: int = 0, **options: object) -> Searcher:
        signals = options.pop("signals", self.signals)
        return Searcher(self.space, signals, {"size": self.size}, self.budgets, seed=seed, **options)  # type: ignore[arg-type]

    def loss(self, allocation: Allocation) -> float:
        return self.losses[tuple(BITS.index(choice.weight.bits) for choice in allocation.values())]


def played(
    searcher: Searcher, loss: Callable[[Allocation], float], trials: int, done: Sequence[Observation] = (), *, refine: bool = False
) -> tuple[list[Observation], list[Proposal]]:
    observations, proposals = list(done), []
    while len(observations) < trials:
        proposals.append(searcher.propose(observations, refine=refine))
        allocation = proposals[-1].allocation
        observations.append(Observation(allocation=allocation, losses={"ptq": loss(allocation)}))
    return observations, proposals
