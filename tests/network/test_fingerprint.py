"""A network is known by its structure and its operations: what changes one changes the fingerprint, what changes neither does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.fingerprint import fingerprint, weights_digest

BATCH = torch.randn(2, 3, 8, 8)


class Small(nn.Module):
    """Each setting is one way to change a network without changing a shape of its weights."""

    def __init__(
        self, act: Callable[[Tensor], Tensor] = torch.relu, factor: float = 1.0, shift: float = 0.0, drop: float = 0.1, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, stride=stride)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(drop)
        self.fc = nn.Linear(4, 5)
        self._act, self._factor, self._shift = act, factor, torch.full((1, 4, 1, 1), shift)

    def forward(self, x: Tensor) -> Tensor:
        x = self._act(self.norm(self.conv(x)) * self._factor + self._shift)
        out: Tensor = self.fc(self.drop(x.mean((2, 3))))
        return out


def test_weights_do_not_count_and_a_second_pass_agrees() -> None:
    torch.manual_seed(0)
    first = Small()
    torch.manual_seed(1)
    second = Small()
    assert fingerprint(first, BATCH) == fingerprint(first, BATCH) == fingerprint(second, BATCH)
    assert weights_digest(first) != weights_digest(second)
    second.load_state_dict(first.state_dict())
    assert weights_digest(first) == weights_digest(second)


@pytest.mark.parametrize(
    "changed",
    [{"act": nn.functional.gelu}, {"factor": 0.5}, {"shift": 0.25}, {"drop": 0.5}, {"stride": 2}],
    ids=lambda changed: next(iter(changed)),
)
def test_each_change_of_equal_shapes_is_seen(changed: dict[str, float]) -> None:
    assert fingerprint(Small(**changed), BATCH) != fingerprint(Small(), BATCH)  # type: ignore[arg-type]


def test_the_order_of_operations_counts() -> None:
    class Other(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self._act(self.conv(x)) * self._factor + self._shift)
            out: Tensor = self.fc(self.drop(x.mean((2, 3))))
            return out

    Other.__qualname__ = Small.__qualname__
    assert fingerprint(Other(), BATCH) != fingerprint(Small(), BATCH)


def test_a_layer_that_is_never_called_counts() -> None:
    model = Small()
    model.add_module("unused", nn.Linear(2, 2))
    assert fingerprint(model, BATCH) != fingerprint(Small(), BATCH)


def test_modes_are_restored_and_values_of_the_batch_do_not_count() -> None:
    model = Small().train()
    model.drop.eval()
    assert fingerprint(model, BATCH) == fingerprint(model, BATCH + 1)
    assert [module.training for module in model.children()] == [True, True, False, True]


def test_inputs_of_several_tensors() -> None:
    class Pair(nn.Module):
        def __init__(self, swapped: bool) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)
            self._swapped = swapped

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            out: Tensor = self.fc(b - a if self._swapped else a - b)
            return out

    pair = (torch.ones(2, 3), torch.zeros(2, 3))
    assert fingerprint(Pair(False), pair) == fingerprint(Pair(False), {"a": pair[0], "b": pair[1]})
    assert fingerprint(Pair(False), pair) != fingerprint(Pair(True), pair)
