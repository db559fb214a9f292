"""Hardware profiles: a shipped or a user's YAML file → the validated profile of the latency cost, analytic or measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, field_validator

from mpsearch.config.latency_profile import parse_latency_profile
from mpsearch.config.shipped import find_yaml
from mpsearch.config.strict import Strict, validated
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.costs.hardware import Hardware, MatmulKernel
from mpsearch.costs.latency_profile import LatencyProfile

__all__ = ["HardwareConfig", "KernelConfig", "load_hardware", "parse_hardware"]

_Rate = Annotated[float, Field(strict=True, gt=0)]
_Bits = Annotated[StrictInt, Field(ge=1, le=FLOAT_BITS)]
_Text = Annotated[str, Field(strict=True, pattern=r"\S")]


class KernelConfig(Strict):
    """One matrix multiplication of the device."""

    weight_bits: _Bits
    act_bits: _Bits
    macs_per_second: _Rate


class HardwareConfig(Strict):
    """A hardware profile file; every key is required."""

    name: _Text
    description: _Text
    source: _Text = Field(description="where the numbers come from")
    measured: StrictBool = Field(description="whether they were measured on the device")
    kernels: Annotated[tuple[KernelConfig, ...], Field(min_length=1)]
    memory_bytes_per_second: _Rate
    seconds_per_layer: Annotated[float, Field(strict=True, ge=0)]

    @field_validator("kernels")
    @classmethod
    def _has_float_kernel(cls, kernels: tuple[KernelConfig, ...]) -> tuple[KernelConfig, ...]:
        if not any(kernel.weight_bits == kernel.act_bits == FLOAT_BITS for kernel in kernels):
            raise ValueError(f"no kernel has float weights and inputs; add one with weight_bits {FLOAT_BITS} and act_bits {FLOAT_BITS}")
        return kernels

    def build(self) -> Hardware:
        """The `Hardware` object for the costs."""
        kernels = tuple(MatmulKernel(**kernel.model_dump()) for kernel in self.kernels)
        return Hardware(**{**dict(self), "kernels": kernels})


def load_hardware(reference: str | Path) -> Hardware | LatencyProfile:
    """A profile by shipped name or by file: analytic, or one that `mpsearch profile` measured.

    Args:
        reference: a name such as `t4`, or the path of a YAML file.

    Raises:
        ConfigError: the file does not exist, is not YAML, or has a wrong key or value; the message has the key's path.
        UnknownNameError: there is no profile of that name.
    """
    path = find_yaml("hardware profile", "hardware", str(reference))
    content = read_yaml(path)
    return (parse_latency_profile if "profile" in content else parse_hardware)(content, label=str(path))


def parse_hardware(content: Mapping[str, Any], *, label: str = "") -> Hardware:
    """A profile from the JSON data of its YAML file.

    Args:
        content: keys and values.
        label: start of messages, such as the file's path.

    Raises:
        ConfigError: a key is missing or unknown, or a value is wrong; the message has the key's path.
    """
    return validated(HardwareConfig, content, label=label).build()
