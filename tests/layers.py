"""Layers without a network, for what only looks at names and shapes."""

from __future__ import annotations

from mpsearch.core.layer import Layer

__all__ = ["linear_layers"]


def linear_layers(count: int, *, inputs: int = 20, macs: int = 100, first_input_float: bool = False) -> list[Layer]:
    """`l0`, `l1`, …: linear, 4 outputs, `inputs`, `inputs + 10`, … inputs; the first may keep its input in float."""
    return [
        Layer(
            name=f"l{i}",
            module=f"l{i}",
            parameter="weight",
            kind="Linear",
            weight_shape=(4, inputs + 10 * i),
            channels=4,
            macs=macs,
            input_elements=5,
            output_elements=4,
            act_quantizable=i > 0 or not first_input_float,
            signed_input=False,
            bias_elements=0,
        )
        for i in range(count)
    ]
