"""The output that is trained, where a network returns more in training mode."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.execution import Execution, batch_within, place_of_output
from mpsearch.network.trace import trace

MAIN, AUXILIARY = torch.zeros(4, 3), torch.ones(4, 5)
Heads = namedtuple("Heads", "logits aux")


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


RETURNED: dict[str, tuple[Any, tuple[int | str, ...]]] = {
    "a tensor": (MAIN, ()),
    "a tuple": ((MAIN, AUXILIARY), (0,)),
    "the main output last": ([AUXILIARY, MAIN], (1,)),
    "a named tuple": (Heads(MAIN, AUXILIARY), (0,)),
    "a dict": ({"aux": AUXILIARY, "out": MAIN}, ("out",)),
    "logits before others of the shape": (OrderedDict(aux=MAIN, logits=MAIN + 1), ("logits",)),
    "a dataclass": (Output(loss=None, logits=MAIN), ("logits",)),
    "nested": ((AUXILIARY, {"heads": [AUXILIARY, MAIN]}), (1, "heads", 1)),
}


class Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self) -> Any:
        return self.value if self.training else MAIN


@pytest.mark.parametrize("name", RETURNED)
def test_the_place_is_found_and_kept_in_training_mode(name: str) -> None:
    returned, place = RETURNED[name]
    assert place_of_output(returned, MAIN) == place
    model = Returns(returned)
    Execution(main_output=place).keep_main_output(model)
    model = pickle.loads(pickle.dumps(copy.deepcopy(model))) if name != "a dataclass" else copy.deepcopy(model)
    assert model.train()().shape == MAIN.shape
    assert model.eval()().shape == MAIN.shape


def test_there_may_be_no_such_output() -> None:
    assert place_of_output((AUXILIARY, MAIN.long()), MAIN) is None


def test_what_is_usual_is_not_said() -> None:
    assert Execution().said == ()
    unusual = Execution(memory_format=torch.contiguous_format, main_output=(0, "logits")).said
    assert len(unusual) == 2
    assert "[0]['logits']" in unusual[1]


@pytest.mark.parametrize(("elements", "batch"), [(1_000, 256), (1_500_000, 256), (65_536_000, 8), (10**9, 1)])
def test_the_batch_is_what_fits_into_the_memory_of_a_pass(elements: int, batch: int) -> None:
    layer = replace(trace(nn.Linear(2, 3).eval(), torch.randn(4, 2))[0], input_elements=0, output_elements=elements)
    assert batch_within([layer]) == batch
