from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.signals.probes.batch_axis import by_sample, calls_of, calls_of_few, first_tensor, sample_axes, take


def _axes(model: nn.Module, x: Tensor) -> dict[str, int] | None:
    few, more = calls_of(model, x[:2]), calls_of(model, x[:3])
    return sample_axes(few, more, few)


def test_samples_in_front_and_behind() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.behind = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.behind(self.front(x).transpose(0, 1)).mean(0)

    assert _axes(Turned(), torch.randn(3, 3, 4)) == {"front": 0, "behind": 1, "": 0}


def test_samples_that_are_interleaved_have_no_axis() -> None:
    class Interleaved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (x.shape[1], -1)).mean(0)

    assert _axes(Interleaved(), torch.randn(3, 5, 4)) is None


def test_samples_that_see_each_other_have_no_axis() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 4)).eval()
    assert _axes(model, torch.randn(3, 4)) is None


def test_take_cuts_every_tensor_of_the_batch_and_nothing_else() -> None:
    mask, flag = torch.ones(5, 5), torch.tensor(1)
    cut = take({"x": torch.arange(8), "more": (torch.zeros(8, 2), mask, flag), "n": 3}, 2, 4)
    assert cut["x"].tolist() == [2, 3]
    assert cut["more"][0].shape == (2, 2)
    assert cut["more"][1] is mask
    assert cut["more"][2] is flag
    assert cut["n"] == 3


def test_by_sample_puts_all_of_a_sample_in_a_row() -> None:
    values = torch.arange(12).view(2, 3, 2)
    assert by_sample(values, 1, 3).tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_first_tensor_looks_into_structures() -> None:
    x = torch.zeros(1)
    assert first_tensor((None, {"a": [x]})) is x
    assert first_tensor(3) is None


def test_a_failing_forward_pass_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="forward pass failed on 2 samples"):
        calls_of(nn.Sequential(nn.Linear(4, 2)), torch.randn(2, 3))


class Branching(nn.Module):
    """Calls its second layer only for samples that are above zero somewhere; gives a count before its output."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, chosen = self.always(x), x.amax(1) > 0
        if bool(chosen.any()):
            y = y.index_add(0, chosen.nonzero().squeeze(1), self.sometimes(x[chosen]))
        return chosen.sum(), y


def test_samples_are_sought_that_call_all_layers() -> None:
    x = -torch.rand(24, 3)
    x[9:12] *= -1
    few, more = calls_of_few(Branching().eval(), x, ["always", "sometimes"])
    assert {"always", "sometimes"} <= few.keys() & more.keys()
    assert few[""][0].shape == (2, 3)  # the output that has gradients, not the count
    few, _ = calls_of_few(Branching().eval(), -x.abs(), ["always", "sometimes"])
    assert "sometimes" not in few
