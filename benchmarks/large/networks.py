"""Networks with random weights, and random samples for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mpsearch.data.base import TensorSplit

__all__ = ["NETWORKS", "Decoder", "Network"]

_CLASSES, _VOCABULARY, _WIDTH, _DEPTH, _HEADS, _CONTEXT = 1000, 8192, 512, 8, 8, 128


class Block(nn.Module):
    """A block of a decoder: causal attention and a gated layer of four widths, each behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_gate = nn.RMSNorm(_WIDTH), nn.RMSNorm(_WIDTH)
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH, bias=False), nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.gate, self.up = nn.Linear(_WIDTH, 4 * _WIDTH, bias=False), nn.Linear(_WIDTH, 4 * _WIDTH, bias=False)
        self.down = nn.Linear(4 * _WIDTH, _WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, E]` → the same."""
        samples, places, _ = x.shape
        split = self.qkv(self.before_attention(x)).view(samples, places, 3, _HEADS, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(samples, places, _WIDTH))
        normed = self.before_gate(x)
        added: Tensor = x + self.down(F.silu(self.gate(normed)) * self.up(normed))
        return added


class Decoder(nn.Module):
    """A small decoder in plain PyTorch: tokens `[N, T]` → logits of the token after the last one, `[N, V]`."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(_VOCABULARY, _WIDTH), nn.Embedding(_CONTEXT, _WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(_DEPTH))
        self.norm, self.head = nn.RMSNorm(_WIDTH), nn.Linear(_WIDTH, _VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x[:, -1]))
        return logits


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of the table.

    Args:
        make: with random weights.
        shape: of a sample; of whole numbers below `tokens`, if that is not 0.
        classes: of its labels.
        tokens: 0 for images.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 224, 224)
    classes: int = _CLASSES
    tokens: int = 0

    def build(self) -> nn.Module:
        """The network, in evaluation mode."""
        torch.manual_seed(0)
        return self.make().eval()

    def samples(self, count: int) -> TensorSplit:
        """Random samples with random labels."""
        draw = torch.Generator().manual_seed(0)
        shape = (count, *self.shape)
        inputs = torch.randint(self.tokens, shape, generator=draw) if self.tokens else torch.randn(shape, generator=draw)
        return TensorSplit(inputs, torch.randint(self.classes, (count,), generator=draw))


NETWORKS = {
    "mobilenetv2": Network(make=torchvision.models.mobilenet_v2),
    "resnet50": Network(make=torchvision.models.resnet50),
    "vit_b_16": Network(make=torchvision.models.vit_b_16),
    "decoder": Network(make=Decoder, shape=(_CONTEXT,), classes=_VOCABULARY, tokens=_VOCABULARY),
}
"""By name."""
