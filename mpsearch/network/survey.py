"""`Survey`: what one forward pass shows of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from mpsearch.core.layer import Layer

__all__ = ["Survey"]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one forward pass shows.

    Args:
        layers: in forward order; those that were not used come last.
        used: by `id` of each parameter that the pass used, the names of the functions that got it.
        uncounted: names of layers that multiply more than `macs` says, since a function that multiplies by them hides how often.
        strangers: by place, such as `blocks[0].weight`, the tensors outside the `state_dict` that the pass used; "" if nothing holds one.
        added: names of layers whose output, behind the norm, is added to another activation or joined with some as it is.
        reads_with: layer → the first layer that reads the same tensor, if that is another.
        products: names of layers that multiply their input by their weight, add the bias, and do nothing else with either.
    """

    layers: tuple[Layer, ...]
    used: Mapping[int, frozenset[str]]
    uncounted: tuple[str, ...] = ()
    strangers: Mapping[str, Tensor] = field(default_factory=dict)
    added: frozenset[str] = frozenset()
    reads_with: Mapping[str, str] = field(default_factory=dict)
    products: frozenset[str] = frozenset()

    def on_edges(self, *, shared: bool = True) -> tuple[Layer, ...]:
        """The layers as a runtime of integers wants them: outputs are rounded before they are added.

        Args:
            shared: whether a tensor is also rounded once for all who read it, and biases are whole numbers of the units of their sums.
        """
        return tuple(
            replace(
                layer,
                rounds_output=layer.name in self.added,
                reads_with=self.reads_with.get(layer.name, "") if shared else "",
                whole_bias=shared and layer.name in self.products and bool(layer.bias_elements),
            )
            for layer in self.layers
        )
