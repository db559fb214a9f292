"""`Hardware`: a device as the latency cost sees it, read from YAML: kernels by bit width, memory bandwidth, fixed time a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS

__all__ = ["Hardware", "MatmulKernel", "load_hardware", "parse_hardware"]


@dataclass(frozen=True, kw_only=True)
class MatmulKernel:
    """Multiplies weights of up to `weight_bits` with activations of up to `act_bits`; both lie in memory at these widths."""

    weight_bits: int
    act_bits: int
    macs_per_second: float


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A device.

    Args:
        name: for reports.
        description: one line for people.
        source: where the numbers come from.
        measured: whether they were measured on the device, or derived from published figures.
        kernels: at least one takes float (32) weights and activations.
        memory_bytes_per_second: bandwidth for weights, inputs and outputs.
        seconds_per_layer: fixed time a layer.
    """

    name: str
    description: str
    source: str
    measured: bool
    kernels: tuple[MatmulKernel, ...]
    memory_bytes_per_second: float
    seconds_per_layer: float


def load_hardware(reference: str | Path) -> Hardware:
    """A profile by shipped name or by file.

    Args:
        reference: a shipped name such as `t4`, or the path of a YAML file.

    Raises:
        ConfigError: no such profile or file, no YAML, or a wrong key or value, with the key's path.
    """
    import yaml

    shipped = {
        item.name.removesuffix(".yaml"): item for item in files("mpsearch").joinpath("hardware").iterdir() if item.name.endswith(".yaml")
    }
    source = shipped.get(str(reference), Path(reference))
    if not source.is_file():
        raise ConfigError(f"hardware: no profile or file '{reference}'; shipped: {', '.join(sorted(shipped))}", path="hardware")
    try:
        plain = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"hardware: '{reference}' is not YAML: {' '.join(str(error).split())}", path="hardware") from error
    return parse_hardware(plain)


def parse_hardware(plain: object) -> Hardware:
    """A profile from the plain data of its YAML file.

    Raises:
        ConfigError: a missing or unknown key, or a wrong value, with the key's path.
    """
    keys = ("name", "description", "source", "measured", "kernels", "memory_bytes_per_second", "seconds_per_layer")
    profile = _mapping(plain, keys, "")
    if not isinstance(profile["measured"], bool):
        raise ConfigError(f"measured: give true or false, not {profile['measured']!r}", path="measured")
    rows = profile["kernels"]
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"kernels: give a list of kernels, not {rows!r}", path="kernels")
    kernels = tuple(_kernel(row, f"kernels.{index}") for index, row in enumerate(rows))
    if not any(kernel.weight_bits == kernel.act_bits == FLOAT_BITS for kernel in kernels):
        raise ConfigError("kernels: none takes float weights and activations; add one with weight_bits 32 and act_bits 32", path="kernels")
    return Hardware(
        name=_text(profile, "name"),
        description=_text(profile, "description"),
        source=_text(profile, "source"),
        measured=profile["measured"],
        kernels=kernels,
        memory_bytes_per_second=_number(profile, "memory_bytes_per_second", ""),
        seconds_per_layer=_number(profile, "seconds_per_layer", "", zero=True),
    )


def _kernel(plain: object, path: str) -> MatmulKernel:
    row = _mapping(plain, ("weight_bits", "act_bits", "macs_per_second"), path)
    for key in ("weight_bits", "act_bits"):
        bits = row[key]
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= FLOAT_BITS:
            raise ConfigError(f"{path}.{key}: bits are an integer from 1 to {FLOAT_BITS}, not {bits!r}", path=f"{path}.{key}")
    return MatmulKernel(weight_bits=row["weight_bits"], act_bits=row["act_bits"], macs_per_second=_number(row, "macs_per_second", path))


def _mapping(plain: object, keys: Sequence[str], path: str) -> Mapping[str, Any]:
    where = path or "hardware profile"
    if not isinstance(plain, dict):
        raise ConfigError(f"{where}: give the keys {', '.join(keys)}, not {plain!r}", path=path)
    for key in plain:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key '{key}'; keys are {', '.join(keys)}", path=f"{path}.{key}".lstrip("."))
    for key in keys:
        if key not in plain:
            raise ConfigError(f"{where}: key '{key}' is missing", path=f"{path}.{key}".lstrip("."))
    return plain


def _text(profile: Mapping[str, Any], key: str) -> str:
    value = profile[key]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}: give a text, not {value!r}", path=key)
    return value


def _number(row: Mapping[str, Any], key: str, path: str, *, zero: bool = False) -> float:
    value, where = row[key], f"{path}.{key}".lstrip(".")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ConfigError(
            f"{where}: give a number {'from 0' if zero else 'above 0'} (YAML reads 1.0e+9, not 1e9), not {value!r}", path=where
        )
    return float(value)
