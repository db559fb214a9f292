from __future__ import annotations

import pytest

from mpsearch.core.errors import DataError
from mpsearch.data.bounded import Bound


def test_samples_and_seconds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("mpsearch.data.bounded.time.monotonic", lambda: now[0])
    bound = Bound()
    bound.check(1_000_000)
    with pytest.raises(DataError, match=r"did not end within 1,000,001 samples and 0 s; say how many samples make a pass: mpsearch.Stream"):
        bound.check(1_000_001)
    now[0] = 26.0
    with pytest.raises(DataError, match="within 3 samples and 26 s"):
        bound.check(3)
