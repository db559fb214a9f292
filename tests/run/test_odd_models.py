"""Networks that do something in training that most do not: searched, trained and loaded as they are."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.progress import Silent
from tests.run.searches import RECIPE

Heads = namedtuple("Heads", "logits aux")


class Net(nn.Module):
    """Modules by name, and a forward pass of them."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def viewed() -> nn.Module:
    """As in every tutorial."""
    return Net(lambda net, x: net.head(F.max_pool2d(net.conv(x).relu(), 2).view(len(x), -1)), conv=conv(), head=nn.Linear(64, 3))


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1)


def with_auxiliary(join: Callable[[Tensor, Tensor], Any]) -> Callable[[], nn.Module]:
    def run(net: Any, x: Tensor) -> Any:
        features = net.conv(x).relu().flatten(1)
        return join(net.head(features), net.aux(features)) if net.training else net.head(features)

    return lambda: Net(run, conv=conv(), head=nn.Linear(256, 3), aux=nn.Linear(256, 3))


def embedded(**settings: Any) -> Callable[[], nn.Module]:
    return lambda: Net(lambda net, x: net.head(net.words(x).mean(1)), words=nn.Embedding(20, 8, **settings), head=nn.Linear(8, 3))


def bagged() -> nn.Module:
    return Net(lambda net, x: net.head(net.words(x)), words=nn.EmbeddingBag(20, 8, sparse=True, max_norm=1.0), head=nn.Linear(8, 3))


def padded() -> nn.Module:
    def run(net: Any, x: Tensor) -> Tensor:
        mask = x == 0
        states = net.encoder(net.words(x), src_key_padding_mask=mask)
        out: Tensor = net.head(states.masked_fill(mask[:, : states.shape[1], None], 0).sum(1))
        return out

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    return Net(run, words=nn.Embedding(20, 8), encoder=encoder, head=nn.Linear(8, 3))


def without_statistics() -> nn.Module:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return Net(lambda net, x: net.head(net.norm(net.conv(x)).relu().flatten(1)), conv=conv(), norm=norm, head=nn.Linear(256, 3))


def recurrent() -> nn.Module:
    return Net(
        lambda net, x: net.head(net.lstm(net.words(x))[0][:, -1]), words=nn.Embedding(20, 8), lstm=nn.LSTM(8, 8), head=nn.Linear(8, 3)
    )


def tokens() -> Tensor:
    x = torch.randint(1, 20, (96, 7))
    x[:, 5:] *= torch.randint(0, 2, (96, 1))
    return x


def images() -> Tensor:
    return torch.randn(96, 3, 8, 8)


ODD: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], str]] = {
    "view after a convolution": (viewed, images, "contiguous memory"),
    "a tuple in training": (with_auxiliary(lambda main, aux: (main, aux)), images, "only [0] is trained"),
    "a named tuple in training": (with_auxiliary(Heads), images, "only [0] is trained"),
    "a dict in training": (with_auxiliary(lambda main, aux: {"aux": aux * 2, "logits": main}), images, "only ['logits'] is trained"),
    "max_norm": (embedded(max_norm=0.5), tokens, "max_norm is applied"),
    "sparse gradients": (embedded(sparse=True), tokens, "gradients are dense"),
    "sparse bags with max_norm": (bagged, tokens, "gradients are dense"),
    "nested tensors": (padded, tokens, "padded positions"),
    "batch statistics alone": (without_statistics, images, ""),
    "a recurrent layer": (recurrent, tokens, ""),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", ODD)
def test_it_is_searched_trained_and_loaded_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    build, inputs, said = ODD[name]
    model, x = build().eval(), inputs()
    data = TensorDataset(x, torch.randint(0, 3, (96,)))
    lines: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda self, text: lines.append(text))
    result = mpsearch.search(
        model,
        TensorDataset(*data[:64]),
        TensorDataset(*data[64:]),
        budget="4bit",
        recipe=RECIPE,
        images=32,
        signals=["fisher"],
        effort="quick",
        trials=2,
        epochs=1,
        run_dir=tmp_path / "run",
        device="cpu",
        progress=False,
    )
    assert said in " ".join(lines)
    loaded = mpsearch.load(result.path, model=build())
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))
    assert len(result.summary.winner.curve) == 1 or result.summary.winner.note
