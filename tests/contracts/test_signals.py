"""The contract of signals, run over whatever the registry finds.

Not tested, since not built: weight-wise diagonal Fisher (its correlations are what `fisher` keeps), pairwise interactions (K²L²/2 passes;
the search engine's product kernel learns them from trials), SQNR and activation distances, which stand in the benchmarks as baselines.
"""

from __future__ import annotations

import pytest

from mpsearch.signals import SIGNALS
from mpsearch.testing import CombinedSignalContract, SignalContract


def named(*, combines: bool) -> list[str]:
    return [name for name, signal in SIGNALS.items() if signal.combines == combines]


class TestEverySignal(SignalContract):
    @pytest.fixture(autouse=True, params=named(combines=False))
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.signal = SIGNALS[request.param]


class TestEveryCombination(CombinedSignalContract):
    @pytest.fixture(autouse=True, params=named(combines=True))
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.signal = SIGNALS[request.param]


def test_there_are_signals_of_both_kinds() -> None:
    assert {"fisher", "measured"} <= set(named(combines=False))
    assert "mix" in named(combines=True)
