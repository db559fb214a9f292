"""`Hardware`: a device as costs see it: kernels by bit width, memory bandwidth, fixed time per layer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Hardware", "MatmulKernel"]


@dataclass(frozen=True, kw_only=True)
class MatmulKernel:
    """Multiplies weights of up to `weight_bits` with activations of up to `act_bits`; both lie in memory at these widths."""

    weight_bits: int
    act_bits: int
    macs_per_second: float


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A device, as `mpsearch.config.hardware` reads it from YAML.

    Args:
        name: for reports.
        description: one line for people.
        source: where the numbers come from.
        measured: whether they were measured on the device, or derived from published figures.
        kernels: at least one takes float (32) weights and activations.
        memory_bytes_per_second: bandwidth for weights, inputs and outputs.
        seconds_per_layer: fixed time per layer.
    """

    name: str
    description: str
    source: str
    measured: bool
    kernels: tuple[MatmulKernel, ...]
    memory_bytes_per_second: float
    seconds_per_layer: float
