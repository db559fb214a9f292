"""Models as people have them: wrapped, reparametrized, pruned; and those that must be refused, each on one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from mpsearch.core.errors import ModelError
from mpsearch.network.canonical import canonical


def network(first: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8) if first is None else first, nn.ReLU(), nn.Linear(8, 3))


def pruned() -> nn.Module:
    layer = nn.Linear(6, 8)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(6, 8)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 8)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 8)),
    "weight norm by hook": lambda: weight_norm(nn.Linear(6, 8)),
    "spectral norm by hook": lambda: spectral_norm(nn.Linear(6, 8)),
    "pruned": pruned,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_reparametrized_weight_becomes_its_value_and_the_users_model_stays(name: str) -> None:
    torch.manual_seed(0)
    model, x = network(LAYERS[name]()).eval(), torch.randn(5, 6)
    model(x).sum().backward()  # what the last forward left has a graph
    names, before = list(model.state_dict()), model(x)
    settled = canonical(model)
    assert set(settled.state_dict()) == set(network().state_dict())
    torch.testing.assert_close(settled(x), before)
    assert list(model.state_dict()) == names
    assert torch.equal(model(x), before)
    model(x).sum().backward()


def test_wrappers_are_taken_off() -> None:
    model = network()
    for wrapped in (nn.DataParallel(model), torch.compile(model), torch.compile(nn.DataParallel(model))):
        assert list(canonical(wrapped).state_dict()) == list(model.state_dict())  # type: ignore[arg-type]


def uncopyable() -> nn.Module:
    model = network()
    model.generator = (number for number in range(3))  # type: ignore[assignment]
    return model


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: network().double(), r"'0.weight' is torch.float64.*give model.float\(\)"),
        (lambda: network(nn.LazyLinear(8)), "has no shape yet; run a batch"),
        (lambda: torch.jit.trace(network(), torch.randn(1, 6)), "give the Python module"),
        (uncopyable, "cannot be copied"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_made_plain_is_refused(build: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        canonical(build())
    assert "\n" not in str(caught.value)


def test_complex_weights_get_advice_that_can_be_followed() -> None:
    model = network()
    model.register_parameter("phase", nn.Parameter(torch.zeros(3, dtype=torch.complex64)))
    with pytest.raises(ModelError, match=r"'phase' is torch.complex64, .* as two float32 parameters, and join them in forward"):
        canonical(model)


class Silent(nn.Sequential):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


def test_a_train_that_returns_nothing() -> None:
    copied = canonical(Silent(nn.Linear(6, 8), nn.Dropout()))
    assert isinstance(copied, Silent)
    assert not any(module.training for module in copied.modules())


def test_rows_that_a_norm_limits_are_scaled_on_the_copy_alone() -> None:
    """All other weights lie in the user's memory; these are written to."""
    words, head = nn.Embedding(10, 4, max_norm=0.5), nn.Linear(12, 2)
    before = words.weight.detach().clone()
    scaled = canonical(nn.Sequential(words, nn.Flatten(), head)).state_dict()
    assert torch.equal(words.weight, before)
    assert float(scaled["0.weight"].norm(dim=1).max()) <= 0.5 + 1e-6
    assert scaled["2.weight"].data_ptr() == head.weight.data_ptr()
