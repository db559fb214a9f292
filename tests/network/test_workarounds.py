"""Settings that training under quantization cannot keep: other settings on our copy, the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.canonical import canonical
from mpsearch.network.workarounds import make_dense, workarounds

TOKENS = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 9]])


class Bags(nn.Module):
    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 6, **settings)  # type: ignore[arg-type]
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.bag(tokens))
        return out


class Words(nn.Module):
    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 6, **settings)  # type: ignore[arg-type]
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.words(tokens).mean(1))
        return out


class Generating(Words):
    """What Hugging Face's language models have: a configuration that asks for keys and values, shared with the parts."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(use_cache=True)
        self.head.config = self.config  # type: ignore[assignment]

    def prepare_inputs_for_generation(self) -> None:
        raise NotImplementedError


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == 0
        states = self.encoder(self.words(tokens), src_key_padding_mask=padding)
        out: Tensor = self.head(states.masked_fill(padding[:, : states.shape[1], None], 0).sum(1))
        return out


NEEDED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "max_norm": (lambda: Words(max_norm=0.7), "words: max_norm"),
    "max_norm of another norm": (lambda: Words(max_norm=0.7, norm_type=1.0), "words: max_norm"),
    "max_norm of bags": (lambda: Bags(max_norm=0.5), "bag: max_norm"),
    "sparse": (lambda: Words(sparse=True), "words: its gradients are dense"),
    "sparse bags": (lambda: Bags(sparse=True), "bag: its gradients are dense"),
    "a cache of keys and values": (Generating, "the network: keys and values"),
    "nested tensors": (Padded, "encoder: padded positions"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", NEEDED)
def test_the_copy_has_the_same_outputs_and_dense_gradients(name: str) -> None:
    torch.manual_seed(0)
    build, said = NEEDED[name]
    model = build().eval()
    sentences = workarounds(model)
    copied = canonical(model)
    assert [sentence for sentence in sentences if sentence.startswith(said)]
    assert workarounds(copied) == ()  # nothing is left to do
    with torch.no_grad():
        torch.testing.assert_close(copied(TOKENS), model(TOKENS), rtol=1e-5, atol=1e-6)
    copied(TOKENS).sum().backward()
    assert all(parameter.grad is None or not parameter.grad.is_sparse for parameter in copied.parameters())


def test_the_users_model_keeps_its_settings() -> None:
    model = Words(max_norm=0.7, sparse=True)
    canonical(model)
    assert (model.words.max_norm, model.words.sparse) == (0.7, True)
    assert len(workarounds(model)) == 2


def test_a_network_that_needs_none_says_nothing() -> None:
    assert workarounds(Words()) == ()


def test_only_gradients_become_dense_for_the_training_of_a_float_network() -> None:
    model = Words(max_norm=0.7, sparse=True)
    make_dense(model)
    assert (model.words.max_norm, model.words.sparse) == (0.7, False)
