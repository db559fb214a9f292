from __future__ import annotations

import pytest

from mpsearch.core.budget import Budget, tightness


def test_the_fullest_budget_counts_whatever_its_place() -> None:
    budgets = [Budget("size", 100.0, "100B"), Budget("latency", 0.5, "500ms")]
    assert tightness({"size": 50.0, "latency": 0.4}, budgets) == pytest.approx(0.8)
    assert tightness({"size": 120.0, "latency": 0.4}, budgets[::-1]) == pytest.approx(1.2)
    assert tightness({"size": 120.0, "bits": 7.0}, []) == 0.0
