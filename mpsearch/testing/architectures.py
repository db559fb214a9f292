"""`random_network`: small random networks whose weights enter products in every way the library claims to follow.

Inputs become a sequence of features `[N, T, D]`, a few random blocks change it, and a head gives logits. A block is a class or function
below: bare parameters in each kind of multiplication, recurrent layers, tied and shared weights, convolutions with and without BatchNorm,
attention, tensors that stay float.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BLOCKS", "STEMS", "RandomNetwork", "random_network"]

FEATURES, TIMES, CLASSES, VOCABULARY = 12, 6, 4, 20
"""D, T, logits, tokens."""


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * 0.4)


class _Bare(nn.Module):
    """One parameter, and a function of (x, parameter)."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.product, self.kernel = product, _parameter(*shape)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        return self.product(x, self.kernel)


def _bare(product: Callable[[Tensor, Tensor], Tensor], *shape: int) -> Callable[[], nn.Module]:
    return lambda: _Bare(product, *shape)


class _AddmmLayer(nn.Module):
    """A linear layer with weight `[in, out]` and bias, computed by `torch.addmm`, as GPT-2's in transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(FEATURES, FEATURES), nn.Parameter(torch.randn(FEATURES) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        return torch.addmm(self.bias, x.reshape(-1, FEATURES), self.weight).view(x.shape)


class _Listed(nn.Module):
    """Parameters in a list and in a dictionary, and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ParameterList([_parameter(FEATURES, FEATURES) for _ in range(2)])
        self.named = nn.ParameterDict({"gate": _parameter(FEATURES, FEATURES)})
        self.unused = _parameter(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        for step in self.steps:
            x = torch.tanh(x @ step)
        return x * torch.sigmoid(F.linear(x, self.named["gate"]))


class _Computed(nn.Module):
    """Weights that are changed or joined before they multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled, self.gain = _parameter(FEATURES, FEATURES), nn.Parameter(torch.rand(FEATURES, 1) + 0.5)
        self.left, self.right = _parameter(FEATURES // 2, FEATURES), _parameter(FEATURES - FEATURES // 2, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        return F.linear(F.linear(x, self.scaled * self.gain), torch.cat([self.left, self.right]))


class _Recurrent(nn.Module):
    """A recurrent layer; the loss sees its outputs or its last states, or both."""

    def __init__(self, kind: Callable[..., nn.RNNBase], states: bool, **settings: int | bool) -> None:
        super().__init__()
        hidden = FEATURES // 2 if settings.get("bidirectional") else FEATURES
        size = hidden + 3 if "proj_size" in settings else hidden
        if "proj_size" in settings:
            settings["proj_size"] = hidden
        self.layer, self.states = kind(FEATURES, size, batch_first=True, **settings), states

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        outputs: Tensor
        outputs, state = self.layer(x)
        if not self.states:
            return outputs
        last = state[0] if isinstance(state, tuple) else state
        added: Tensor = last[-1].repeat(1, FEATURES // last.shape[-1])
        return outputs + added.unsqueeze(1)


class _Cells(nn.Module):
    """A cell called at every step."""

    def __init__(self, kind: Callable[[int, int], nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        outputs, state = [], None
        for step in x.unbind(1):
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


class _Tied(nn.Module):
    """One weight as a module's and, transposed, as a bare factor; one block called twice and under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(FEATURES, FEATURES)
        self.again = nn.Linear(FEATURES, FEATURES)
        self.again.weight = self.up.weight
        self.kernel = self.up.weight
        self.block = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU())
        self.blocks = nn.ModuleList([self.block] * 2)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        x = torch.relu(self.up(x)) @ self.kernel
        for block in self.blocks:
            x = block(x)
        outputs: Tensor = self.again(x)
        return outputs


class _Convolved(nn.Module):
    """A convolution over time, plain or transposed, with or without BatchNorm."""

    def __init__(self, norm: bool, transposed: bool = False) -> None:
        super().__init__()
        kind = nn.ConvTranspose1d if transposed else nn.Conv1d
        self.layer = kind(FEATURES, FEATURES, 3, padding=1, groups=2, bias=not norm)
        self.norm = nn.BatchNorm1d(FEATURES) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        outputs: Tensor = self.norm(self.layer(x.transpose(1, 2)))
        return outputs.transpose(1, 2)


class _Attended(nn.Module):
    def __init__(self, library: bool) -> None:
        super().__init__()
        self.library = nn.MultiheadAttention(FEATURES, 2, batch_first=True) if library else None
        self.mix = None if library else _parameter(3, FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        if self.library is not None:
            outputs: Tensor = self.library(x, x, x, need_weights=False)[0]
            return outputs
        q, k, v = torch.einsum("ntd,jde->jnte", x, self.mix).unbind(0)
        return F.scaled_dot_product_attention(q, k, v)


class _Float(nn.Module):
    """Positions, a norm and a buffer: nothing to quantize."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.norm = _parameter(TIMES, FEATURES), nn.LayerNorm(FEATURES)
        self.register_buffer("table", torch.linspace(0, 1, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, T, D]` → the same shape."""
        outputs: Tensor = self.norm(x + self.positions) + self.table
        return outputs


def _by_heads(x: Tensor, weight: Tensor) -> Tensor:
    """A product per head, batched over the heads: weight `[H, D/H, D/H]`."""
    heads = x.reshape(-1, len(weight), FEATURES // len(weight)).transpose(0, 1)
    return torch.bmm(heads, weight).transpose(0, 1).reshape(x.shape)


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(FEATURES, FEATURES),
    "F.linear": _bare(F.linear, FEATURES, FEATURES),
    "x @ W": _bare(lambda x, w: x @ w, FEATURES, FEATURES),
    "x @ W.t()": _bare(lambda x, w: x @ w.t(), FEATURES, FEATURES),
    "W @ x": _bare(torch.Tensor.__rmatmul__, TIMES, TIMES),
    "x @ w": _bare(lambda x, w: x * torch.sigmoid(x @ w).unsqueeze(-1), FEATURES),
    "einsum": _bare(lambda x, w: torch.einsum("...d,de->...e", x, w), FEATURES, FEATURES),
    "einsum by heads": _bare(lambda x, w: torch.einsum("ntd,hde->nthe", x, w).flatten(2), 3, FEATURES, FEATURES // 3),
    "einsum of three": _bare(lambda x, w: torch.einsum("ntd,de,ne->nte", x, w, x.mean(1)), FEATURES, FEATURES),
    "bmm": _bare(_by_heads, 3, FEATURES // 3, FEATURES // 3),
    "broadcast matmul": _bare(lambda x, w: (x.unsqueeze(1) @ w).mean(1), 2, FEATURES, FEATURES),
    "baddbmm": _bare(lambda x, w: torch.baddbmm(x, x, w.expand(len(x), -1, -1)), FEATURES, FEATURES),
    "tensordot": _bare(lambda x, w: torch.tensordot(x, w, dims=([2], [0])), FEATURES, FEATURES),
    "bilinear": _bare(lambda x, w: F.bilinear(x.contiguous(), x.contiguous(), w), FEATURES, FEATURES, FEATURES),
    "F.conv1d": _bare(lambda x, w: F.conv1d(x.transpose(1, 2), w, padding=1).transpose(1, 2), FEATURES, FEATURES, 3),
    "F.conv_transpose1d": _bare(lambda x, w: F.conv_transpose1d(x.transpose(1, 2), w, padding=1).transpose(1, 2), FEATURES, FEATURES, 3),
    "a view": _bare(lambda x, w: x @ w.view(FEATURES, FEATURES), FEATURES * FEATURES),
    "slices": _bare(lambda x, w: F.linear(x, w[0]) * torch.sigmoid(F.linear(x, w[1])), 2, FEATURES, FEATURES),
    "addmm layer": _AddmmLayer,
    "lists": _Listed,
    "computed": _Computed,
    "lstm": lambda: _Recurrent(nn.LSTM, False),
    "lstm, states": lambda: _Recurrent(nn.LSTM, True),
    "lstm, stacked, both ways": lambda: _Recurrent(nn.LSTM, False, num_layers=2, bidirectional=True),
    "lstm, projected": lambda: _Recurrent(nn.LSTM, True, num_layers=2, proj_size=1),
    "gru": lambda: _Recurrent(nn.GRU, True, num_layers=2),
    "gru, both ways": lambda: _Recurrent(nn.GRU, True, bidirectional=True),
    "rnn, no bias": lambda: _Recurrent(nn.RNN, False, bias=False),
    "lstm cell": lambda: _Cells(nn.LSTMCell),
    "gru cell": lambda: _Cells(nn.GRUCell),
    "rnn cell": lambda: _Cells(nn.RNNCell),
    "tied": _Tied,
    "convolution": lambda: _Convolved(norm=False),
    "convolution and norm": lambda: _Convolved(norm=True),
    "transposed and norm": lambda: _Convolved(norm=True, transposed=True),
    "attention": lambda: _Attended(library=True),
    "bare attention": lambda: _Attended(library=False),
    "float": _Float,
}
"""Name → a module `[N, T, D]` → `[N, T, D]`."""


class _Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, FEATURES, 3, stride=(2, 3)), nn.BatchNorm2d(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, 1, 7, 7]` → `[N, T, D]`."""
        outputs: Tensor = self.norm(self.layer(x))
        return outputs.flatten(2).mT


STEMS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "features": (lambda: nn.Linear(5, FEATURES), lambda samples: torch.randn(samples, TIMES, 5)),
    "image": (_Image, lambda samples: torch.randn(samples, 1, 7, 7)),
    "tokens": (lambda: nn.Embedding(VOCABULARY, FEATURES), lambda samples: torch.randint(VOCABULARY, (samples, TIMES))),
    "bare table": (
        _bare(lambda x, w: F.embedding(x, w), VOCABULARY, FEATURES),
        lambda samples: torch.randint(VOCABULARY, (samples, TIMES)),
    ),
}
"""Name → (module, inputs of some samples)."""


class _Network(nn.Module):
    def __init__(self, stem: str, blocks: tuple[str, ...], residual: bool) -> None:
        super().__init__()
        self.stem, self.residual = STEMS[stem][0](), residual
        self.blocks = nn.ModuleList(BLOCKS[name]() for name in blocks)
        self.head = _parameter(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[N, 4]`."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x)) if self.residual else torch.relu(block(x))
        return x.mean(1) @ self.head


@dataclass(frozen=True)
class RandomNetwork:
    """A random architecture, and inputs for it.

    Args:
        stem: a name of `STEMS`.
        blocks: names of `BLOCKS`, in order.
        residual: whether each block's output is added to its input.
    """

    stem: str
    blocks: tuple[str, ...]
    residual: bool

    def build(self, seed: int = 0) -> nn.Module:
        """The network with weights drawn from `seed`, in evaluation mode; the global random state is kept."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _Network(self.stem, self.blocks, self.residual).eval()

    def inputs(self, samples: int, seed: int = 0) -> Tensor:
        """A batch of inputs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return STEMS[self.stem][1](samples)


def random_network(seed: int) -> RandomNetwork:
    """The architecture of a number; 38 numbers in a row have every block at least once."""
    names, drawn = list(BLOCKS), random.Random(seed)
    others = [drawn.choice(names) for _ in range(drawn.randrange(3))]
    blocks = [names[seed % len(names)], *others]
    drawn.shuffle(blocks)
    return RandomNetwork(drawn.choice(list(STEMS)), tuple(blocks), drawn.random() < 0.5)
