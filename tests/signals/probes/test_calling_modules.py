from __future__ import annotations

import torch
from torch import nn

from mpsearch.network.trace import trace
from mpsearch.signals.probes.batch_axis import calls_of
from mpsearch.signals.probes.calling_modules import calling_modules
from tests.signals.zoo import ZOO


def _owners(name: str) -> dict[str, tuple[tuple[str, str], ...]]:
    torch.manual_seed(0)
    model: nn.Module = ZOO[name][0]().eval()
    x = ZOO[name][1]()
    called = calls_of(model, x)
    return {layer.name: calling_modules(layer, called) for layer in trace(model, x)}


def test_a_module_answers_for_itself() -> None:
    assert _owners("called twice")["shared"] == (("shared", "weight"),)


def test_a_tied_weight_has_every_place_that_uses_it() -> None:
    assert _owners("tokens, tied")["embedding"] == (("embedding", "weight"), ("out", "weight"))


def test_attention_answers_for_its_output_projection() -> None:
    assert _owners("attention")["attention.out_proj"] == (("attention", "out_proj.weight"),)


def test_the_whole_model_answers_for_a_weight_it_reaches_into() -> None:
    assert _owners("reached into")["out"] == (("", "out.weight"),)
