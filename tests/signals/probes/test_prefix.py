from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.signals.probes.prefix import PrefixCache


class Counting(nn.Linear):
    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(Counting(4, 4), nn.ReLU(inplace=True), Counting(4, 4))
        self.touched = Counting(4, 4)
        self.last = Counting(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        y = self.touched(x)
        y += x
        return self.last(F.relu_(y))


def _runs(net: Net) -> list[int]:
    return [module.runs for module in (net.block[0], net.block[2], net.touched, net.last)]  # type: ignore[misc]


@torch.no_grad()
def test_blocks_before_the_start_are_skipped_unless_changed_in_place() -> None:
    net, x = Net(), torch.randn(3, 4)
    with PrefixCache(net).attached() as cache:
        outputs = cache.record(lambda: net(x))
        assert _runs(net) == [1, 1, 1, 1]
        again = cache.replay(cache.first_call("last"), lambda: net(x))
        assert _runs(net) == [1, 1, 2, 2]
        assert torch.equal(outputs, again)
        inside = cache.replay(cache.first_call("block.2"), lambda: net(x))
        # The first layer's output is what the in-place ReLU overwrites.
        assert _runs(net) == [2, 2, 3, 3]
        assert torch.equal(outputs, inside)
        cache.replay(0, lambda: net(x))
        assert _runs(net) == [3, 3, 4, 4]


@torch.no_grad()
def test_a_block_that_changes_its_input_is_run_again() -> None:
    class Rude(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            F.relu_(x)
            return self.inner(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rude, self.last = nn.Linear(4, 4), Rude(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(self.rude(x) + x)

    net, x = Outer(), torch.randn(3, 4)
    with PrefixCache(net).attached() as cache:
        outputs = cache.record(lambda: net(x))
        for name in ("", "first", "rude", "rude.inner", "last"):
            assert torch.equal(outputs, cache.replay(cache.first_call(name), lambda: net(x)))


@torch.no_grad()
def test_forward_is_put_back() -> None:
    net = Net()
    own = net.last.forward
    object.__setattr__(net.touched, "forward", own)
    with PrefixCache(net).attached():
        assert "forward" in net.block.__dict__
    assert "forward" not in net.block.__dict__
    assert "forward" not in net.last.__dict__
    assert net.touched.__dict__["forward"] is own
