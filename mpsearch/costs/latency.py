"""`latency`: seconds of one sample on a device, layer after layer: measured, or by a roofline."""

from __future__ import annotations

import numpy as np

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.table import Table
from mpsearch.costs.base import COSTS, Cost, CostInputs
from mpsearch.costs.hardware import Hardware
from mpsearch.costs.latency_profile import LatencyProfile, measured_latency

__all__ = ["latency"]


def latency(inputs: CostInputs) -> Table:
    """The measured time of each layer; of an analytic profile, its roofline on the fastest kernel that is wide enough for its choice.

    Measured: see `measured_latency`. Roofline:

    `values[l, k] = overhead + min over wide enough kernels of max(MAC_l / rate, (N_l b_w + (in_l + out_l) b_a) / (8 · bandwidth))`,
    with the kernel's own widths `b_w`, `b_a`: on a device with 4-bit and 8-bit kernels, 3 bits take the time of 4.

    Args:
        inputs: of these, the space and the hardware profile; for a measured one, the formats as well.

    Returns:
        `[L, C]`, seconds of one sample; NaN off the menus.

    Raises:
        ConfigError: there is no hardware profile, or a measured one lacks a choice.

    Source:
        Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for multicore architectures",
        Communications of the ACM 52(4), 2009.
    """
    space, hardware = inputs.space, inputs.hardware
    if hardware is None:
        raise ConfigError("latency needs a hardware profile; add --hardware with a name or a YAML file", path="hardware")
    if isinstance(hardware, LatencyProfile):
        return measured_latency(space, hardware, inputs.formats)
    values = [[_seconds(layer, choice, hardware) for choice in space.choices] for layer in space.layers]
    return space.table("latency", "s", np.array(values))


def _seconds(layer: Layer, choice: Choice, hardware: Hardware) -> float:
    times = []
    for kernel in hardware.kernels:
        if kernel.weight_bits >= choice.weight.bits and kernel.act_bits >= choice.activation.bits:
            moved = (layer.weights * kernel.weight_bits + (layer.input_elements + layer.output_elements) * kernel.act_bits) / 8
            times.append(max(layer.macs / kernel.macs_per_second, moved / hardware.memory_bytes_per_second))
    return hardware.seconds_per_layer + min(times)


def _worded(amount: float) -> str:
    return f"{amount * 1e3:.4g} ms" if amount >= 1e-4 or amount == 0 else f"{amount * 1e6:.4g} µs"


COSTS.register("latency")(
    Cost(
        name="latency",
        unit="s",
        description="seconds of one sample, as measured by `mpsearch profile` or by the roofline of a hardware profile, layer after layer",
        paper="Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009",
        units={"s": "1", "ms": "1e-3", "us": "1e-6", "µs": "1e-6"},
        example="5ms",
        compute=latency,
        worded=_worded,
        reported=lambda inputs: inputs.hardware is not None,
    )
)
