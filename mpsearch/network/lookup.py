"""`by_row`: which embeddings have a scale for each row, an entry of the vocabulary, rather than for each feature.

A linear layer that shares its weight with an embedding, as the heads of most language models do, has the rows as output channels, and a
file can store the tensor only once: so have both. An embedding of its own gets scales by row where a row is at least as long as a group
of the middle size, 64 values, so that they cost no more than a quarter of a bit a value; a short one, as of categories in a table, has
more entries than a scale for each would be worth, and gets scales by feature.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import owner_of

__all__ = ["by_row"]

_LONG = 64


def by_row(model: nn.Module, layer: Layer) -> Layer:
    """The layer; of an embedding whose scales are by row, with the rows as its output channels."""
    module = model.get_submodule(layer.module)
    if layer.axes is not None or layer.parameter != "weight" or not isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return layer
    tied = any(isinstance(owner_of(model, alias)[0], nn.Linear) for alias in layer.aliases)
    rows, features = layer.weight_shape
    return replace(layer, axes=(0,), channels=rows) if tied or features >= _LONG else layer
