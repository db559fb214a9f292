"""The search without a surrogate: signals first, then new allocations within the budget, and an end."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tabular.signal_search import SignalSearch
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import Space
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation
from tests.layers import linear_layers

BITS = (1, 2, 4, 8)


def search_of(layers: int, limit: float) -> tuple[SignalSearch, Table, Table]:
    space = Space(name="s", weights=BITS).resolve(linear_layers(layers))
    counts = np.array([[layer.weights] for layer in space.layers], dtype=np.float64)
    random = np.random.default_rng(0)
    damage = counts * 4.0 ** -np.array(BITS, dtype=np.float64) * np.exp(random.normal(0, 0.5, (layers, len(BITS))))

    def table(name: str, values: np.ndarray) -> Table:
        return Table(name=name, unit="", layers=space.names, choices=space.choices, values=values)

    size, truth = table("size", counts * np.array(BITS)), table("truth", damage)
    signal = table("fisher", damage * np.exp(random.normal(0, 0.8, damage.shape)))
    budget = Budget("size", float(counts.sum() * limit), f"{limit} bits")
    return SignalSearch(space, [signal], {"size": size}, [budget]), size, truth


def played(search: SignalSearch, truth: Table, trials: int) -> tuple[list[str], list[Allocation]]:
    seen: list[Observation] = []
    origins = []
    for _ in range(trials):
        proposal = search.propose(seen)
        origins.append(proposal.origin)
        seen.append(Observation(allocation=proposal.allocation, losses={"ptq": truth.total(proposal.allocation)}))
    return origins, [observation.allocation for observation in seen]


def test_signals_come_first_and_every_proposal_is_new_and_within_the_budget() -> None:
    search, size, truth = search_of(6, 2.5)
    origins, allocations = played(search, truth, 14)
    assert origins[:2] == ["milp:fisher", "milp:bits"]
    assert set(origins[2:]) == {"swap", "perturbed"}
    assert len(set(allocations)) == 14
    smallest = size.values[:, 0].sum()  # one bit a weight
    assert all(size.total(allocation) <= 2.5 * smallest for allocation in allocations)


def test_it_ends_when_everything_was_tried() -> None:
    search, _, truth = search_of(1, 4.0)
    _, allocations = played(search, truth, 3)
    assert len(set(allocations)) == 3
    with pytest.raises(BudgetError, match="has been tried"):
        search.propose([Observation(allocation=a, losses={"ptq": 1.0}) for a in allocations])
