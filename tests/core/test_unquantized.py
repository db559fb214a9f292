from __future__ import annotations

from mpsearch.core.unquantized import Unquantized, bytes_of, covered_share, largest_named
from tests.layers import linear_layers

BIASES = Unquantized(reason="bias", tensors=2, bytes=60, parameters=15, largest=("a.bias", "b.bias"), largest_bytes=(40, 20))
TABLE = Unquantized(reason="buffer", tensors=1, bytes=4_000, parameters=0, largest=("table",), largest_bytes=(4_000,))


def test_in_words() -> None:
    assert BIASES.line == "60 B: bias (2 tensors, largest a.bias 40 B)"
    assert TABLE.line == "4,000 B: buffer (table)"
    assert largest_named((BIASES, TABLE), 2) == "table 4,000 B, a.bias 40 B"
    assert bytes_of((BIASES, TABLE)) == 4_060


def test_the_share_is_of_parameters() -> None:
    layers = linear_layers(2)
    weights = sum(layer.weights for layer in layers)
    assert covered_share(layers, (BIASES, TABLE)) == weights / (weights + 15)
    assert covered_share(layers, ()) == 1.0
