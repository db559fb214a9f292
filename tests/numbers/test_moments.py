"""Moments of several calls are those of all rows together."""

from __future__ import annotations

import pytest
import torch

from mpsearch.numbers.moments import Moments


@pytest.mark.parametrize("central", [True, False])
def test_pooled_are_those_of_all_rows(central: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    calls = [(torch.randn(2, n, 5, generator=generator) + n, torch.randn(2, n, 3, generator=generator) - n) for n in (7, 20, 1)]
    pooled = Moments.pooled([Moments.of(x, y, central=central) for x, y in calls])
    whole = Moments.of(torch.cat([x for x, _ in calls], 1), torch.cat([y for _, y in calls], 1), central=central)
    assert pooled.count == whole.count == 28
    for name in ("squares", "products"):
        torch.testing.assert_close(getattr(pooled, name), getattr(whole, name), rtol=1e-5, atol=1e-4)
    for mine, other in zip(pooled.means, whole.means, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_those_of_one_call_are_left_as_they_are() -> None:
    x, y = torch.randn(1, 9, 4), torch.randn(1, 9, 2)
    one = Moments.of(x, y, central=True)
    assert Moments.pooled([one]) is one
    apart = x - x.mean(1, keepdim=True)
    assert torch.equal(one.squares, torch.bmm(apart.mT, apart) / 9)
