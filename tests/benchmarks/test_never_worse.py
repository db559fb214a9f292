from __future__ import annotations

from typing import Any

import pytest
import torch
from never_worse import BUDGETS, NETWORKS, SEEDS, cases, fine, table


def row(**other: Any) -> dict[str, Any]:
    told = {"network": "mlp", "budget": "2.2bit", "seed": 0, "mixed": True, "winner": 0.95, "uniform": 0.94, "gain": 0.01, "error": 0.005}
    return told | other


@pytest.mark.parametrize(("gain", "uniform", "good"), [(0.0, 0.9, True), (-0.009, 0.9, True), (-0.011, 0.9, False), (-1.0, None, True)])
def test_a_case_is_fine_within_two_standard_errors(gain: float, uniform: float | None, good: bool) -> None:
    assert fine(row(gain=gain, uniform=uniform)) == good


def test_the_table_counts_cases_and_their_share() -> None:
    told = table([row(), row(seed=1, gain=-0.1), row(seed=2, mixed=False, gain=0.0), row(network="deep")])
    assert "| mlp | 2.2bit | 3 | 2 | -3.00 | 1 |" in told
    assert "3 of 4 cases (75.0 %" in told
    assert "no case" in table([])


def test_a_hundred_cases_of_networks_that_see_digits() -> None:
    assert len({case.key for case in cases(list(NETWORKS), BUDGETS, SEEDS)}) == 100
    for build in NETWORKS.values():
        model = build().eval()
        assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
        assert 2_000 < sum(parameter.numel() for parameter in model.parameters()) < 12_000
