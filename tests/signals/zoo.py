"""Small networks, one for each kind of layer a signal has to get right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Embedding, a linear layer on every token, tied to the embedding at the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.mix = nn.Linear(6, 6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(self.embedding(ids))).mean(1))


class Attention(nn.Module):
    """Self-attention and cross-attention with the samples on the second axis, as PyTorch does by default."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.cross = nn.MultiheadAttention(8, 2, kdim=5, vdim=5, batch_first=batch_first)
        self.keys = nn.Linear(8, 5)
        self.out = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids if self.batch_first else ids.t())
        x = x + self.attention(x, x, x, need_weights=False)[0]
        memory = self.keys(x)
        x = x + self.cross(query=x, key=memory, value=memory)[0]
        return self.out(x.mean(1 if self.batch_first else 0))


class Twice(nn.Module):
    """One layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.shared = nn.Linear(6, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.shared(torch.tanh(self.shared(self.first(x))))))


class Positions(nn.Module):
    """Position embeddings know no sample."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(11, 6), nn.Embedding(7, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = torch.tanh(self.embedding(ids) + self.position(torch.arange(ids.shape[1])))
        return self.out(x.mean(1))


class Reached(nn.Module):
    """Uses a weight without calling its module."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(torch.tanh(self.hidden(x)), self.out.weight, self.out.bias)


class Windows(nn.Module):
    """Cuts each sample into pieces that go through the layers as samples of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        pieces = x.unflatten(3, (2, -1)).permute(0, 3, 1, 2, 4).flatten(0, 1)
        pooled = self.mix(torch.tanh(self.conv(pieces)).mean((2, 3)))
        return self.out(pooled.unflatten(0, (len(x), 2)).mean(1))


def _images(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))


ZOO: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "conv2d": (
        lambda: _images(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True), features=64),
        lambda: torch.randn(5, 2, 8, 8),
    ),
    "conv2d dilated, circular": (
        lambda: _images(nn.Conv2d(2, 3, (3, 2), padding=(2, 1), dilation=(2, 1), padding_mode="circular", bias=False), features=162),
        lambda: torch.randn(5, 2, 6, 8),
    ),
    "conv2d same": (lambda: _images(nn.Conv2d(2, 3, 4, padding="same"), features=108), lambda: torch.randn(5, 2, 6, 6)),
    "grouped": (lambda: _images(nn.Conv2d(4, 6, 3, groups=2), nn.Tanh(), features=96), lambda: torch.randn(5, 4, 6, 6)),
    "depthwise": (
        lambda: _images(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.BatchNorm2d(6), features=96),
        lambda: torch.randn(5, 3, 4, 4),
    ),
    "transposed": (
        lambda: _images(nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), nn.Tanh(), features=384),
        lambda: torch.randn(5, 4, 4, 4),
    ),
    "conv1d": (lambda: _images(nn.Conv1d(3, 4, 3, stride=2, padding=1, groups=1), nn.Tanh(), features=20), lambda: torch.randn(5, 3, 10)),
    "conv3d": (lambda: _images(nn.Conv3d(1, 2, 2), nn.Tanh(), features=54), lambda: torch.randn(4, 1, 4, 4, 4)),
    "large weight, one position": (lambda: _images(nn.Conv2d(16, 16, 3, padding=1), features=16), lambda: torch.randn(6, 16, 1, 1)),
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), lambda: torch.randn(7, 6)),
    "tokens, tied": (Tokens, lambda: torch.randint(11, (6, 5))),
    "attention": (Attention, lambda: torch.randint(11, (6, 6))),
    "attention, batch first": (lambda: Attention(batch_first=True), lambda: torch.randint(11, (6, 6))),
    "called twice": (Twice, lambda: torch.randn(6, 5)),
    "positions": (Positions, lambda: torch.randint(11, (5, 7))),
    "reached into": (Reached, lambda: torch.randn(6, 5)),
    "windows": (Windows, lambda: torch.randn(4, 1, 4, 6)),
    "one sample": (lambda: nn.Sequential(nn.Linear(6, 3)), lambda: torch.randn(1, 6)),
}
"""Name → (network, one batch)."""
