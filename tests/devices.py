"""A made-up device."""

from __future__ import annotations

from typing import Any

__all__ = ["PROFILE"]

PROFILE: dict[str, Any] = {
    "name": "toy",
    "description": "for tests",
    "source": "made up",
    "measured": False,
    "kernels": [
        {"weight_bits": 4, "act_bits": 4, "macs_per_second": 4000},
        {"weight_bits": 8, "act_bits": 8, "macs_per_second": 2000},
        {"weight_bits": 32, "act_bits": 32, "macs_per_second": 100.0},
    ],
    "memory_bytes_per_second": 1000.0,
    "seconds_per_layer": 0.25,
}
