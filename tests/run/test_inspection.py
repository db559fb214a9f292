"""Signals and the solver's allocation without a trial."""

from __future__ import annotations

from mpsearch.run import allocate, sensitivities
from tests.run.tiny import Phases, tiny_study


def test_every_signal_of_the_study_even_where_no_budget_can_be_met() -> None:
    space, tables = sensitivities(tiny_study(budgets=["10B"]))
    assert [table.name for table in tables] == ["fisher", "measured"]
    assert all(table.layers == tuple(layer.name for layer in space.layers) for table in tables)


def test_the_first_signal_alone_decides() -> None:
    phases = Phases()
    space, costs, solution = allocate(tiny_study(), phases)
    assert phases.titles == ["signal fisher"]
    assert costs["bits"].total(solution.allocation) <= 4.5
    assert set(solution.allocation) == {layer.name for layer in space.layers}
