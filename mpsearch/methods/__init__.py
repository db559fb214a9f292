"""Quantization methods: how weights and activations are quantized in training. One module each; see `mpsearch list`."""

from __future__ import annotations

from mpsearch.core.registry import Registry
from mpsearch.methods.base import Method

__all__ = ["METHODS", "Method"]

METHODS: Registry[type[Method]] = Registry("method", "mpsearch.methods")
