from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.network.baked import rest_of_state
from mpsearch.network.trace import survey
from mpsearch.network.unquantized import unquantized
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import without_formats
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.write import PackedWriter
from tests.networks import NETWORKS, BareParameters, Depthwise, trained_statistics


class Leftovers(nn.Module):
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm = nn.Linear(6, 3), nn.LayerNorm(6)
        self.positions, self.unused = nn.Parameter(torch.zeros(5, 6)), nn.Parameter(torch.zeros(2))
        self.memory, self.bias = nn.Parameter(torch.randn(1, 4, 6)), nn.Parameter(torch.zeros(6))
        self.register_buffer("mask", torch.ones(7))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        x = F.scaled_dot_product_attention(self.norm(x + self.positions) + self.bias, self.memory, self.memory)
        logits: Tensor = self.head(x.mean(1)) * self.mask[0]
        return logits


def test_every_tensor_has_a_reason() -> None:
    model = Leftovers().eval()
    groups = {group.reason: group for group in unquantized(model, survey(model, torch.randn(4, 5, 6)))}
    assert {reason: (group.bytes, group.parameters, group.largest) for reason, group in groups.items()} == {
        "parameter that enters no matrix product by itself": (120, 30, ("positions",)),
        "parameter in scaled_dot_product_attention, which is not covered": (96, 24, ("memory",)),
        "normalisation": (48, 12, ("norm.weight", "norm.bias")),
        "bias": (36, 9, ("bias", "head.bias")),
        "buffer": (36, 0, ("mask", "steps")),
        "parameter that the forward pass does not use": (8, 2, ("unused",)),
    }
    assert [group.bytes for group in groups.values()] == sorted((group.bytes for group in groups.values()), reverse=True)


def test_folded_norms_leave_a_bias_in_half_precision() -> None:
    model = trained_statistics(Depthwise())
    found = {group.reason: group.bytes for group in unquantized(model, survey(model, torch.randn(4, 1, 8, 8)))}
    assert found == {"bias": 4 * (16 + 10), "bias of a folded BatchNorm, in half precision": 2 * 16}


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_are_those_of_the_file(name: str) -> None:
    build, inputs = NETWORKS[name]
    model, x = trained_statistics(build()), inputs()
    found = survey(model, x)
    blueprint = Blueprint(architecture=model, inputs=x, layers=found.layers)
    overhead = PackedWriter(blueprint).overhead_bytes - layout.header_bytes(without_formats(blueprint), {})
    biases = sum(layout.bias_bytes(layer) for layer in found.layers)
    assert sum(group.bytes for group in unquantized(model, found)) == overhead + biases
    assert sum(group.tensors for group in unquantized(model, found)) == len(rest_of_state(model, found.layers)) + sum(
        layer.bias_elements > 0 for layer in found.layers
    )


def test_what_multiplies_is_not_listed() -> None:
    model = BareParameters().eval()
    names = [name for group in unquantized(model, survey(model, torch.randn(8, 6))) for name in group.largest]
    assert sorted(names) == ["gain", "layer.bias", "unused"]
