from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.large.memory import Peak

MB = 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_a_peak_is_found_although_it_is_over() -> None:
    peak = Peak()
    kept, most = peak.of(lambda: (torch.ones(48 * MB).sum(), torch.ones(4 * MB))[1])
    assert 0.9 * 192 * MB < most < 1.3 * 192 * MB
    _, later = peak.of(lambda: torch.ones(8 * MB).sum())
    assert later < 0.5 * most
    assert kept.numel() == 4 * MB
