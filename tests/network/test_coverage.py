from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.network.canonical import canonical
from mpsearch.network.coverage import coverage_notes
from mpsearch.network.trace import survey
from tests.networks import NETWORKS


class Holds(nn.Module):
    """A head after whatever `change` does with an attribute that is not registered."""

    def __init__(self, held: Any, change: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.held, self.change, self.head = held, change, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.change(self.held, x))
        return logits


def notes(held: Any, change: Callable[[Any, Tensor], Tensor]) -> tuple[str, ...]:
    return coverage_notes(survey(canonical(Holds(held, change)), torch.randn(3, 4)))


REFUSED: dict[str, tuple[str, Any, Callable[[Any, Tensor], Tensor]]] = {
    "a list": ("held[1].weight", [nn.ReLU(), nn.Linear(4, 4)], lambda held, x: held[1](x)),
    "a dict": ("held['a'].weight", {"a": nn.Linear(4, 4)}, lambda held, x: held["a"](x)),
    "a list of parameters": ("held[0]", [nn.Parameter(torch.ones(4, 4))], lambda held, x: x @ held[0]),
    "a plain trainable tensor": ("held[0]", [torch.ones(4, requires_grad=True)], lambda held, x: x * held[0]),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_trained_outside_the_state_is_refused_by_name(case: tuple[str, Any, Callable[[Any, Tensor], Tensor]]) -> None:
    place, held, change = case
    with pytest.raises(ModelError, match=r"so no file would hold it; put modules into nn\.ModuleList") as caught:
        notes(held, change)
    assert f"'{place}'" in str(caught.value)


def test_constants_are_named_and_not_refused() -> None:
    (note,) = notes([torch.ones(4)], lambda held, x: x * held[0])
    assert note.startswith("The file does not hold held[0], which the forward pass uses")
    frozen = nn.Linear(4, 4).requires_grad_(False)
    (note,) = notes([frozen], lambda held, x: held[0](x))
    assert "held[0].weight" in note


def test_what_is_not_used_or_made_anew_or_a_number_is_no_word_worth() -> None:
    assert notes([nn.Linear(4, 4)], lambda held, x: x) == ()
    assert notes([torch.tensor(2.0)], lambda held, x: x * held[0]) == ()
    assert notes(None, lambda held, x: x @ torch.eye(4) + torch.arange(4)) == ()
    assert notes({"table": torch.arange(4)}, lambda held, x: x[:, held["table"]]) == ()


def test_a_parameter_that_nothing_holds_is_mentioned() -> None:
    kernel = nn.Parameter(torch.ones(4, 4))
    (note,) = notes(None, lambda held, x: x @ kernel)
    assert "a parameter that no module holds" in note


def test_uncounted_multiplications_are_said() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("ni,ij,nj->nj", x, self.kernel, x)

    (note,) = coverage_notes(survey(Three(), torch.randn(3, 4)))
    assert note.startswith("Not all multiplications by kernel are counted")


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_give_no_note(name: str) -> None:
    build, inputs = NETWORKS[name]
    assert coverage_notes(survey(canonical(build()), inputs())) == ()
