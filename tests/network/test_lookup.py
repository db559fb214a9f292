from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows


class Reader(nn.Module):
    def __init__(self, words: int, features: int, head: bool) -> None:
        super().__init__()
        self.words, self.mix = nn.Embedding(words, features), nn.Linear(features, features)
        self.head = nn.Linear(features, words, bias=False) if head else nn.Identity()
        if head:
            self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.words(tokens))))


@pytest.mark.parametrize(
    ("words", "features", "head", "by_row"),
    [(20, 8, False, False), (20, 8, True, True), (20, 64, False, True), (20, 63, False, False)],
    ids=["short", "tied to a head", "long", "nearly long"],
)
def test_embeddings_have_scales_by_row_where_they_are_heads_or_long(words: int, features: int, head: bool, by_row: bool) -> None:
    model = Reader(words, features, head)
    layer = next(layer for layer in trace(model, torch.arange(words).reshape(2, -1)) if layer.name == "words")
    assert (layer.axes, layer.channels) == (((0,), words) if by_row else (None, features))
    rows = Rows.of_layer(model, layer)
    assert rows.count == layer.channels
    split = rows.split(model.words.weight.detach())
    assert torch.equal(split, model.words.weight if by_row else model.words.weight.t())
    assert torch.equal(rows.join(split.contiguous()), model.words.weight)


def test_a_tied_head_is_one_layer_with_the_operations_of_both() -> None:
    model = Reader(20, 8, head=True)
    layers = trace(model, torch.arange(20).reshape(2, 10))
    assert [layer.name for layer in layers] == ["words", "mix"]
    assert layers[0].aliases == ("head.weight",)
    assert layers[0].macs == 10 * 8 * 20
