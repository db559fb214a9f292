"""The contract of costs, run over whatever the registry finds."""

from __future__ import annotations

import pytest

from mpsearch.costs import COSTS
from mpsearch.testing import CostContract


class TestEveryCost(CostContract):
    @pytest.fixture(autouse=True, params=COSTS.names())
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.cost = COSTS[request.param]


def test_there_are_the_five_that_the_guide_names() -> None:
    assert {"size", "bits", "bops", "latency", "activation-memory"} <= set(COSTS.names())
