"""`bits.yaml`: an allocation as a YAML file to read and edit, one line per layer (`layer1.0.conv1: w2a8`)."""

from __future__ import annotations

from pathlib import Path

from mpsearch.config.yaml_file import dump_yaml, read_yaml
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ConfigError

__all__ = ["dump_bits", "load_bits"]


def load_bits(path: Path) -> Allocation:
    """Read a `bits.yaml`; an integer alone means weight bits.

    Raises:
        ConfigError: the file cannot be read, is empty, or has a value that is not a choice; the message names the layer.
    """
    content = read_yaml(path)
    if not content:
        raise ConfigError(f"{path}: names no layer; write one 'layer: w4a8' per line")
    try:
        return Allocation.from_dict(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", path=error.path) from error


def dump_bits(allocation: Allocation) -> str:
    """The text of a `bits.yaml`; `load_bits` reads the same allocation back."""
    return dump_yaml(allocation.to_dict())
