"""Small networks of every kind the library claims to handle, with one batch of inputs each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.testing.networks import Depthwise, trained_statistics

__all__ = ["NETWORKS", "Conv1D", "Depthwise", "trained_statistics"]


class Conv1D(nn.Module):
    """Like Hugging Face's layer of this name, which is told by its module's name: the package need not be installed."""

    __module__ = "transformers.pytorch_utils"

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(0.2 * torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).reshape(*x.shape[:-1], -1)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.positions = nn.Parameter(torch.randn(12, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(tokens) + self.positions).mean(1))


class TiedLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embedding(tokens))).mean(1))


class SharedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for _ in range(2):
            x = torch.relu(self.shared(x))
        return self.head(x.mean((2, 3)))


class OneAndThreeDimensions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.up = nn.ConvTranspose1d(4, 6, 2, stride=2, groups=2)
        self.volume = nn.Conv3d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(torch.relu(self.norm(self.line(x))))
        return self.head(torch.relu(self.volume(x[:, None, :, :, None])).mean((2, 3, 4)))


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.depth = nn.ConvTranspose3d(1, 3, 3, padding=1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.up(torch.relu(self.down(x)))))
        return self.head(torch.relu(self.depth(x[:, None])).mean((2, 3, 4)))


class NormUsedTwice(nn.Module):
    """The convolution's output feeds both the norm and a skip: folding would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.head((self.norm(y) + y).mean((2, 3)))


class Conditioned(nn.Module):
    """A linear layer is fed a vector without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.film = nn.Linear(4, 16)
        self.first = nn.Linear(6, 16)
        self.head = nn.Linear(16, 3)
        self.register_buffer("code", torch.tensor([1.0, 0.5, -0.5, 0.2]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x) * (1 + self.film(self.code))))


class CrossAttention(nn.Module):
    """Query, key and value of different widths: three projection weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.head(self.attention(query, key, value, need_weights=False)[0].mean(1))


class AddmmLayer(nn.Module):
    """A linear layer with weight `[in, out]` and a bias, computed by `torch.addmm`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.4), nn.Parameter(torch.randn(outputs) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class BareParameters(nn.Module):
    """Parameters that multiply by themselves, in the model, in a list and in a module; a gain and one that nothing uses stay float."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.heads = nn.Parameter(torch.randn(12, 6) * 0.4), nn.Parameter(torch.randn(2, 12, 4) * 0.4)
        self.steps = nn.ParameterList([torch.randn(8, 8) * 0.4, torch.randn(8, 8) * 0.4])
        self.again = self.steps[0]
        self.gain, self.unused = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.randn(3, 3))
        self.layer = AddmmLayer(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(F.linear(x, self.first))
        x = torch.einsum("ni,hio->nho", x, self.heads).flatten(1)
        for step in self.steps:
            x = torch.tanh(x @ step)
        return self.layer(torch.tanh(F.linear(x, self.again)) * self.gain)


class Recurrent(nn.Module):
    """Outputs of one recurrent layer, last states of another, and a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 4, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.cell = nn.RNNCell(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(self.lstm(x)[0])
        return self.head(self.cell(last[-1], last[-1]))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))


def _images(channels: int) -> Callable[[], Any]:
    return lambda: torch.randn(8, channels, 8, 8)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "mlp": (_mlp, lambda: torch.randn(8, 6)),
    "depthwise": (Depthwise, _images(1)),
    "transformer": (Transformer, lambda: torch.randint(0, 50, (8, 12))),
    "tied": (TiedLanguageModel, lambda: torch.randint(0, 20, (8, 5))),
    "shared": (SharedModule, _images(2)),
    "one_and_three_d": (OneAndThreeDimensions, lambda: torch.randn(8, 2, 9)),
    "transposed": (Transposed, _images(1)),
    "norm_used_twice": (NormUsedTwice, _images(1)),
    "conditioned": (Conditioned, lambda: torch.randn(8, 6)),
    "bare": (BareParameters, lambda: torch.randn(8, 6)),
    "recurrent": (Recurrent, lambda: torch.randn(8, 7, 5)),
    "cross_attention": (
        CrossAttention,
        lambda: {"query": torch.randn(8, 3, 8), "key": torch.randn(8, 5, 6), "value": torch.randn(8, 5, 4)},
    ),
}
"""Name → (model factory, input factory)."""
