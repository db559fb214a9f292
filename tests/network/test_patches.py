"""Sampled patches times the weight's rows are the module's outputs at those places."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.patches import Patches, has_patches
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from tests.networks import NETWORKS, Conv1D

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (lambda: nn.Conv2d(3, 8, 3, padding=1), (5, 3, 9, 7)),
    "strided, dilated, unequal": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(2, 1)), (4, 4, 9, 8)),
    "grouped": (lambda: nn.Conv2d(6, 9, 3, groups=3, bias=False), (4, 6, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6, padding="same"), (4, 6, 6, 6)),
    "same, even kernel": (lambda: nn.Conv2d(2, 3, 4, padding="same"), (4, 2, 6, 6)),
    "valid, reflected": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (4, 2, 6, 6)),
    "circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (4, 2, 9)),
    "line": (lambda: nn.Conv1d(2, 4, 5, stride=2), (4, 2, 15)),
    "volume": (lambda: nn.Conv3d(2, 4, (1, 2, 3), padding=(0, 1, 1)), (3, 2, 4, 5, 6)),
    "linear": (lambda: nn.Linear(6, 4), (5, 6)),
    "linear on a vector": (lambda: nn.Linear(6, 4), (6,)),
    "linear over tokens": (lambda: nn.Linear(6, 4, bias=False), (5, 3, 6)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("places", [3, 1000])
def test_rows_times_patches_are_outputs(case: tuple[Callable[[], nn.Module], tuple[int, ...]], places: int) -> None:
    torch.manual_seed(0)
    module, x = case[0](), torch.randn(case[1])
    with torch.no_grad():
        y = module(x)
    patches = Patches(module, y.shape, places)
    inputs, outputs = patches.inputs(x), patches.outputs(y)
    rows = Rows.of(module, module.weight).split(module.weight.detach())  # type: ignore[arg-type]
    weights = rows.reshape(patches.groups, -1, rows.shape[1])
    bias = torch.zeros(len(rows)) if module.bias is None else module.bias.detach()
    expected = torch.bmm(inputs, weights.mT) + bias.reshape(patches.groups, 1, -1)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-4)
    samples = len(x) if x.dim() > 1 else 1
    assert inputs.shape[1] == samples * min(places, y.numel() // (samples * len(rows)))


def test_every_place_once_where_all_fit() -> None:
    module, x = nn.Conv2d(1, 2, 1), torch.arange(2 * 3 * 4.0).reshape(2, 1, 3, 4)
    patches = Patches(module, (2, 2, 3, 4), 12)
    assert patches.inputs(x).flatten().tolist() == list(range(24))


def test_same_places_in_every_pass() -> None:
    module = nn.Conv2d(1, 1, 1, bias=False)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(Patches(module, (3, 1, 8, 8), 5).inputs(x), Patches(module, (3, 1, 8, 8), 5).inputs(x))


@pytest.mark.parametrize(
    "module", [nn.ConvTranspose2d(2, 2, 2), nn.Embedding(3, 2), nn.MultiheadAttention(4, 2)], ids=lambda m: type(m).__name__
)
def test_others_do_not_fit(module: nn.Module) -> None:
    assert not Patches.fit(module)


def test_a_linear_layer_with_a_forward_of_its_own_does_not_fit() -> None:
    class Gated(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).sigmoid()

    assert not Patches.fit(Gated(2, 2))


def test_only_layers_with_one_weight_of_their_own_have_patches() -> None:
    fitting = {
        name: [layer.name for layer in trace(build().eval(), inputs()) if has_patches(build(), layer)]
        for name, (build, inputs) in NETWORKS.items()
        if name in ("bare", "recurrent", "tied", "mlp")
    }
    assert fitting == {"bare": [], "recurrent": ["head"], "tied": ["mix"], "mlp": ["0", "3", "5"]}


def test_hugging_faces_conv1d_is_a_linear_layer_with_its_weight_transposed() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 6), Conv1D(4, 6)).eval(), torch.randn(5, 3, 6)
    layer = trace(model, x)[1]
    assert has_patches(model, layer)
    with torch.no_grad():
        hidden = model[0](x)
        patches = Patches(model[1], model(x).shape, 1000)
        rows = Rows.of_layer(model, layer).split(model[1].weight.detach())
        torch.testing.assert_close(torch.bmm(patches.inputs(hidden), rows.mT.unsqueeze(0)), patches.outputs(model(x)))
