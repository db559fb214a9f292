"""The packed artifact: one safetensors file."""

from mpsearch.targets.packed.target import Packed

__all__ = ["Packed"]
