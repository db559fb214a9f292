"""What to try next: MILP solutions of the signals, bits that trainings learned, then solutions of perturbed signals, and swaps.

Signals are solved at the asked budget first and at budgets around it after the learned bits; swaps are of the best allocation so far.

Deterministic in (seed, number of the trial, what was tried before): an interrupted study that goes on proposes what it would have proposed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.record import Record
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.engine.problem import Problem
from mpsearch.engine.solve import solve
from mpsearch.methods.base import Method

__all__ = ["Proposer", "uniform_candidates"]

_NOISE = 0.5
_ATTEMPTS = 12


class Proposer:
    """Proposes allocations that were not tried before.

    Args:
        problem: space, costs, budgets, seed.
        tables: signals; each proposes on its own first.
        sweep: factors on every budget that proposals aim at in turn; 1 is the budget itself.
        starts: (origin, allocation) that somebody has found already; tried once each table has proposed for the first factor.
    """

    def __init__(
        self, problem: Problem, tables: Sequence[Table], sweep: Sequence[float], starts: Sequence[tuple[str, Allocation]] = ()
    ) -> None:
        self._problem = problem
        self._tables = tuple(tables)
        self._sweep = tuple(sweep)
        self._starts = tuple(starts)

    def next(self, records: Sequence[Record]) -> tuple[str, Allocation]:
        """(origin, allocation) of the next trial, given all records so far.

        Raises:
            BudgetError: every allocation within the budget was tried.
        """
        number = len(records)
        tried = {record.allocation for record in records}
        planned = self._planned()
        if number < len(planned):
            origin, propose = planned[number]
            found = propose(tried)
            if found is not None:
                return origin, found
        random = np.random.default_rng([self._problem.seed, number])
        best = min((r for r in records if r.status == "complete" and r.feasible), key=_merit, default=None)
        if best is not None and number % 2:
            swapped = self._swap(best.allocation, tried, random)
            if swapped is not None:
                return "swap", swapped
        for attempt in range(_ATTEMPTS):
            table = self._tables[int(random.integers(len(self._tables)))]
            factor = 1.0 if attempt else self._sweep[int(random.integers(len(self._sweep)))]
            noise = np.exp(_NOISE * (1 + attempt / 2) * random.standard_normal(table.values.shape))
            found = self._solve(replace(table, values=table.values * noise), factor, tried)
            if found is not None:
                return f"milp~{table.name}", found
        raise BudgetError("every allocation within the budget has been tried; raise the budget, widen the space, or ask for fewer trials")

    def _planned(self) -> list[tuple[str, Callable[[set[Allocation]], Allocation | None]]]:
        """Origin and maker of the first trials' allocations."""
        solved = [
            (f"milp:{table.name}" + ("" if factor == 1 else f"@{factor:g}"), partial(self._solve, table, factor))
            for factor in self._sweep
            for table in self._tables
        ]
        given = [(origin, partial(_untried, allocation)) for origin, allocation in self._starts]
        return [*solved[: len(self._tables)], *given, *solved[len(self._tables) :]]

    def _solve(self, table: Table, factor: float, tried: set[Allocation]) -> Allocation | None:
        budgets = [Budget(b.cost, b.limit * factor, b.text) for b in self._problem.budgets]
        try:
            found = solve(self._problem.space, table, self._problem.costs, budgets).allocation
            return (
                found
                if found not in tried
                else solve(self._problem.space, table, self._problem.costs, budgets, exclude=tuple(tried)).allocation
            )
        except BudgetError:
            return None

    def _swap(self, start: Allocation, tried: set[Allocation], random: np.random.Generator) -> Allocation | None:
        """One tie group up, another down, whichever leaves the budget kept; a random one of them."""
        space = self._problem.space
        order = random.permutation(len(space.groups))
        for up in order:
            for down in random.permutation(len(space.groups)):
                if up == down:
                    continue
                raised = _moved(space, start, int(up), +1)
                moved = None if raised is None else _moved(space, raised, int(down), -1)
                for candidate in (raised, moved):
                    if candidate is not None and candidate not in tried and self._problem.fits(candidate):
                        return candidate
        return None


def uniform_candidates(problem: Problem, method: Method | None = None) -> list[tuple[str, Allocation]]:
    """The uniform allocations that fit as `method` writes them and that no other fitting one tops in both weight and activation bits.

    Two kinds: the same bits everywhere, and the papers' custom of leaving the first and the last layer at the most bits on their menus.
    """
    space = problem.space
    found: dict[Allocation, str] = {}
    fitting = [choice for choice in space.choices if problem.fits(space.uniform(choice), method)]
    for choice in _topmost(fitting):
        allocation = space.uniform(choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}")
    ends = [choice for choice in space.choices if problem.fits(_with_ends(space, choice), method)]
    for choice in _topmost(ends):
        allocation = _with_ends(space, choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}, ends at most bits")
    return [(origin, allocation) for allocation, origin in found.items()]


def _commonest(allocation: Allocation) -> Choice:
    """What most layers take: where menus differ, not what was asked for."""
    return Counter(allocation.values()).most_common(1)[0][0]


def _topmost(choices: Sequence[Choice]) -> list[Choice]:
    def tops(a: Choice, b: Choice) -> bool:
        return a != b and a.weight_bits >= b.weight_bits and a.act_bits >= b.act_bits

    return [choice for choice in choices if not any(tops(other, choice) for other in choices)]


def _with_ends(space: ResolvedSpace, choice: Choice) -> Allocation:
    choices = dict(space.uniform(choice))
    for group in space.groups:
        if 0 in group or len(space.layers) - 1 in group:
            menu = [c for c in space.menus[group[0]] if c.weight_bits <= 8] or list(space.menus[group[0]])
            for index in group:
                choices[space.names[index]] = max(menu, key=lambda c: (c.act_bits, c.weight_bits))
    return Allocation(choices)


def _moved(space: ResolvedSpace, allocation: Allocation, group: int, direction: int) -> Allocation | None:
    members = space.groups[group]
    current = allocation[space.names[members[0]]]
    menu = space.menus[members[0]]
    index = menu.index(current) + direction
    if not 0 <= index < len(menu):
        return None
    return Allocation({**allocation, **{space.names[member]: menu[index] for member in members}})


def _untried(allocation: Allocation, tried: set[Allocation]) -> Allocation | None:
    return None if allocation in tried else allocation


def _merit(record: Record) -> tuple[int, float, float]:
    return (-len(record.scores), record.score.error, record.score.loss)
