"""Measured latency profiles as YAML files, as `mpsearch profile` writes them and `--hardware` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, field_validator, model_validator

from mpsearch.config.strict import Strict, validated
from mpsearch.config.yaml_file import dump_yaml
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.costs.latency_profile import Correction, LatencyProfile, SumCheck, Timing, WholeNetwork

__all__ = ["MEASURED", "LatencyProfileConfig", "dump_latency_profile", "parse_latency_profile"]

MEASURED = "measured latency"
"""Value of the key `profile`, which tells these files from analytic profiles."""

_DIGITS = 5
_Seconds = Annotated[float, Field(strict=True, gt=0)]
_Times = tuple[_Seconds, _Seconds, _Seconds]
_Share = Annotated[float, Field(strict=True, ge=0)]
_Text = Annotated[str, Field(strict=True, pattern=r"\S")]
_Count = Annotated[StrictInt, Field(ge=1)]


def _check_choice(text: str) -> str:
    Choice.parse(text)
    return text


class NetworkConfig(Strict):
    """One whole network: its choices in the order of the layers, and median, lower and upper quartile."""

    choices: _Text
    seconds: _Times


class CheckConfig(Strict):
    """Relative errors of predictions for the whole networks."""

    networks: _Count
    median: _Share
    largest: _Share
    corrected_median: _Share | None = None
    corrected_largest: _Share | None = None


class CorrectionConfig(Strict):
    """`fixed + slope · Σ layers`."""

    fixed: Annotated[float, Field(strict=True)]
    slope: _Seconds


class LatencyProfileConfig(Strict):
    """The file; seconds are of one sample: median, lower and upper quartile."""

    profile: Literal["measured latency"]
    model: _Text
    network: _Text
    target: _Text
    runtime: _Text
    processor: _Text
    cores: _Count
    threads: _Count
    batch: _Count
    repeats: _Count
    date: _Text
    how: _Text
    check: CheckConfig | None = None
    correction: CorrectionConfig | None = None
    pace: _Times | None = None
    paces: tuple[_Seconds, ...] = ()
    call: _Times | None = None
    calls: Annotated[float, Field(ge=1)] = 1.0
    layers: Annotated[dict[str, dict[str, _Times]], Field(min_length=1)]
    unmeasured: dict[str, dict[str, _Text]] = Field(default_factory=dict)
    networks: tuple[NetworkConfig, ...] = ()

    @field_validator("layers", "unmeasured")
    @classmethod
    def _names_choices(cls, layers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for choices in layers.values():
            for choice in choices:
                _check_choice(choice)
        return layers

    @model_validator(mode="after")
    def _fits_together(self) -> LatencyProfileConfig:
        for layer, cells in self.layers.items():
            for choice, times in cells.items():
                _check_order(f"layers.{layer}.{choice}", times)
        if self.pace is None and (self.networks or any(self.layers.values())):
            raise ValueError("pace: this key is missing, of which all times are shares; profile again")
        for number, network in enumerate(self.networks):
            _check_order(f"networks.{number}", network.seconds)
            choices = network.choices.split()
            if len(choices) != len(self.layers):
                raise ValueError(f"networks.{number}: {len(choices)} choices for {len(self.layers)} layers; profile again")
            for layer, choice in zip(self.layers, map(_check_choice, choices), strict=True):
                if choice not in self.layers[layer]:
                    raise ValueError(f"networks.{number}: layer '{layer}' has no time as {choice}; profile again")
        if self.pace is not None:
            _check_order("pace", self.pace)
        if self.call is not None:
            _check_order("call", self.call)
        return self

    def build(self) -> LatencyProfile:
        """The profile for the cost."""
        document = dict(self)
        del document["profile"]
        return LatencyProfile(
            **{
                **document,
                "layers": tuple(self.layers),
                "cells": {
                    layer: {Choice.parse(choice): _timing(times) for choice, times in cells.items()} for layer, cells in self.layers.items()
                },
                "unmeasured": {
                    layer: {Choice.parse(choice): reason for choice, reason in choices.items()}
                    for layer, choices in self.unmeasured.items()
                },
                "networks": tuple(map(_network, self.networks)),
                "pace": None if self.pace is None else _timing(self.pace),
                "call": None if self.call is None else _timing(self.call),
                "check": None if self.check is None else SumCheck(**dict(self.check)),
                "correction": None if self.correction is None else Correction(**dict(self.correction)),
            }
        )


def _check_order(place: str, times: tuple[float, float, float]) -> None:
    median, low, high = times
    if not low <= median <= high:
        raise ValueError(f"{place}: the median {median:g} is not between the quartiles {low:g} and {high:g}; profile again")


def _network(config: NetworkConfig) -> WholeNetwork:
    return WholeNetwork(choices=tuple(map(Choice.parse, config.choices.split())), timing=_timing(config.seconds))


def _timing(times: tuple[float, float, float]) -> Timing:
    return Timing(median=times[0], low=times[1], high=times[2])


def parse_latency_profile(content: Mapping[str, Any], *, label: str = "") -> LatencyProfile:
    """A profile from the JSON data of its YAML file.

    Args:
        content: keys and values.
        label: start of messages, such as the file's path.

    Raises:
        ConfigError: a key is missing or unknown, or a value is wrong, such as a time that is NaN, negative or zero; the message has the
            key's path.
    """
    try:
        return validated(LatencyProfileConfig, content, label=label).build()
    except ConfigError as error:
        cure = "" if "profile again" in str(error) else "; profile again"
        prefix = f"{label}: " if label and not str(error).startswith(label) else ""
        raise ConfigError(f"{prefix}{error}{cure}", path=error.path) from error


def dump_latency_profile(profile: LatencyProfile) -> str:
    """The text of the file; `parse_latency_profile` reads the same profile back, seconds to five digits."""
    check, correction = profile.check, profile.correction
    document = {name: getattr(profile, name) for name in _COPIED}
    content = {
        "profile": MEASURED,
        **document,
        "check": None if check is None else {name: _short(value) for name, value in vars(check).items()},
        "correction": None if correction is None else {name: _short(value) for name, value in vars(correction).items()},
        "pace": None if profile.pace is None else _times(profile.pace),
        "call": None if profile.call is None else _times(profile.call),
        "calls": profile.calls,
        "paces": [_short(each) for each in profile.paces],
        "layers": {
            layer: {str(choice): _times(timing) for choice, timing in profile.cells.get(layer, {}).items()} for layer in profile.layers
        },
        "unmeasured": {layer: {str(choice): reason for choice, reason in reasons.items()} for layer, reasons in profile.unmeasured.items()},
        "networks": [_spelled(each) for each in profile.networks],
    }
    return dump_yaml(content, compact=True)


_COPIED = ("model", "network", "target", "runtime", "processor", "cores", "threads", "batch", "repeats", "date", "how")


def _spelled(network: WholeNetwork) -> dict[str, Any]:
    return {"choices": " ".join(map(str, network.choices)), "seconds": _times(network.timing)}


def _short(value: float | int | None) -> float | int | None:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _times(timing: Timing) -> list[float | int | None]:
    return [_short(value) for value in (timing.median, timing.low, timing.high)]
