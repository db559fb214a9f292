from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.observe import collect_inputs, draw, first_input, hooked


class Keyword(nn.Module):
    """Calls its layers with keyword arguments, the second one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(input=self.second(self.first(input=x)))


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_hooks_see_every_call_and_may_change_it() -> None:
    model, x = Keyword().eval(), torch.rand(2, 3)
    plain = model(x)
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        return output + 1

    with hooked(before=[(model.first, before), (model.second, before)], after=[(model, after)]):
        torch.testing.assert_close(model(x), plain + 1)
    assert [sorted(kwargs) for _, kwargs in seen] == [["input"], [], ["input"]]
    assert first_input(*seen[0]) is x
    assert first_input(*seen[1]).shape == (2, 4)
    assert torch.equal(model(x), plain)


def test_hooks_are_removed_after_an_error_too() -> None:
    model = Keyword()
    seen: list[int] = []

    def fail() -> None:
        with hooked(before=[(model.first, print)], after=[(model.second, print)]):
            seen.append(hooks_of(model))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [2]
    assert hooks_of(model) == 0


def test_a_draw_follows_its_generator_and_repeats_values() -> None:
    values = torch.arange(10.0)
    first, again, other = (draw(values, 1000, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.tolist()) == set(values.tolist())


def test_inputs_of_every_call_are_kept_in_the_order_of_the_batches() -> None:
    model = Keyword().train()
    batches = [torch.rand(2, 3), torch.rand(5, 3)]
    found = collect_inputs(model, {"b": "second", "a": "first", "c": "unused"}, batches, lambda values: values[:7])
    assert list(found) == ["b", "a"]
    assert torch.equal(found["a"], torch.cat([batches[0].reshape(-1), batches[1].reshape(-1)[:7]]))
    with torch.no_grad():
        calls = [x for batch in batches for x in (model.first(batch), model.second(model.first(batch)))]
    assert torch.equal(found["b"], torch.cat([x.reshape(-1)[:7] for x in calls]))
    assert model.training
    assert not found["b"].requires_grad
    assert hooks_of(model) == 0


def test_the_pass_runs_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(3, 3)).train()
    x = torch.rand(4, 3)
    assert torch.equal(collect_inputs(model, {"linear": "1"}, [x], lambda values: values)["linear"], x.reshape(-1))
