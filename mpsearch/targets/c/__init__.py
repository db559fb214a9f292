"""The C target: one translation unit that runs the network."""

from mpsearch.targets.c.target import C

__all__ = ["C"]
