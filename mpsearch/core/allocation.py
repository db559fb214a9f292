"""`Allocation`: one choice for every layer. The search looks for one, and `bits.yaml` stores one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS

__all__ = ["Allocation"]


class Allocation(Mapping[str, Choice]):
    """Immutable, ordered mapping layer name → `Choice`; equal and hashable by content."""

    __slots__ = ("_choices",)

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        self._choices = dict(choices)

    def __getitem__(self, name: str) -> Choice:
        return self._choices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __hash__(self) -> int:
        return hash(tuple(self._choices.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allocation) and self._choices == other._choices

    def __repr__(self) -> str:
        return f"Allocation({self.spelled()})"

    def spelled(self) -> str:
        """One line: `conv1=w8af layer1.0.conv1=w2af …`."""
        return " ".join(f"{name}={choice}" for name, choice in self._choices.items())

    def key(self) -> str:
        """Ten hexadecimal digits that identify the content."""
        return hashlib.sha256(self.spelled().encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, str]:
        """Plain `{layer: "w4a8"}`, ready for YAML or JSON."""
        return {name: str(choice) for name, choice in self._choices.items()}

    @classmethod
    def from_dict(cls, spelled: Mapping[str, object]) -> Allocation:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a value is not a choice; the message names its layer.
        """
        return cls({name: Choice.parse(text, path=name) for name, text in spelled.items()})

    def mean_weight_bits(self, layers: Sequence[Layer]) -> float:
        """`Σ N_l b_l / Σ N_l` over all layers, first and last included."""
        total = sum(layer.weights for layer in layers)
        return sum(layer.weights * self[layer.name].weight.bits_per_value for layer in layers) / total

    def mean_act_bits(self, layers: Sequence[Layer]) -> float:
        """Mean bits of layer inputs, weighted by elements; inputs that cannot be quantized count as float."""
        total = sum(layer.input_elements for layer in layers)
        return (
            sum(layer.input_elements * self[layer.name].activation.bits_per_value for layer in layers) / total
            if total
            else float(FLOAT_BITS)
        )
