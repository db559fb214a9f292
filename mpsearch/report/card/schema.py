"""`Card`: what must be known of a quantized network before its accuracy means anything. Every field is required; `n/a` is written out.

After Garg, Jain, Lou, Nahmias: Confounding Tradeoffs for Neural Network Quantization, arXiv 2102.06366. That results need such a card,
and the tradeoffs T1 to T9, are the paper's; the fields are ours (the paper's own template: UNVERIFIED).

A field that does not apply holds `"n/a"` or `"n/a: why"`; `null` is for cards of other people's results, whose unknown fields bar them from
claims. Values are plain JSON: numbers, text, true or false, lists, objects.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mpsearch.core.errors import ConfigError

__all__ = [
    "CARD_VERSION",
    "NA",
    "Ablation",
    "Card",
    "Costs",
    "Coverage",
    "Data",
    "Flip",
    "Formats",
    "Granularity",
    "Hardware",
    "Identity",
    "Model",
    "Precision",
    "Provenance",
    "Ranges",
    "Resources",
    "Result",
    "Section",
    "canonical_id",
    "na",
]

CARD_VERSION = 1
NA = "n/a"


def na(why: str = "") -> str:
    """`n/a`, or `n/a: why`."""
    return f"{NA}: {why}" if why else NA


def canonical_id(content: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration as canonical JSON: the order of keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Section:
    """Base of the card's sections."""

    letter: ClassVar[str]
    title: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Identity(Section):
    """A."""

    letter, title = "A", "Identity"
    card_version: int
    config_id: str
    parent_run: str
    tool: str
    tool_source: str
    date: str
    seeds: list[int]
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Model(Section):
    """B."""

    letter, title = "B", "Model and baseline"
    architecture: str
    options: dict[str, Any]
    checkpoint: str
    checkpoint_sha256: str
    float_dtype: str
    metric: str
    float_metric: dict[str, Any]
    dataset: str
    split_sizes: dict[str, Any]
    preprocessing: dict[str, Any]
    batchnorm_folded: Any
    edits: str
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Coverage(Section):
    """C. `tensors`: class → `{quantized, bits}`; `scope`: what is quantized at all; `ends`: how first and last layer are treated."""

    letter, title = "C", "Coverage"
    scope: str
    ends: str
    first_layer: dict[str, Any]
    last_layer: dict[str, Any]
    tensors: dict[str, Any]
    float_ops: Any


@dataclass(frozen=True, kw_only=True)
class Formats(Section):
    """D. Each: `{family, symmetric, zero_exact, narrow, scale, rounding, saturating}`."""

    letter, title = "D", "Number format"
    weights: dict[str, Any]
    activations: Any
    biases: Any


@dataclass(frozen=True, kw_only=True)
class Granularity(Section):
    """E."""

    letter, title = "E", "Granularity"
    weights: str
    activations: str
    scales: int
    scale_bytes: int


@dataclass(frozen=True, kw_only=True)
class Ranges(Section):
    """F."""

    letter, title = "F", "Ranges"
    weights: str
    activations: str
    static: bool
    images: int
    learned: bool
    bias_correction: str
    batchnorm_images: Any


@dataclass(frozen=True, kw_only=True)
class Precision(Section):
    """G. `bits`: layer → [weight bits, input bits]; `allowed`, `kernels`: distinct pairs, spelled `w4a8`."""

    letter, title = "G", "Mixed precision"
    method: str
    bits: dict[str, list[int]]
    allowed: list[str]
    signals: list[str]
    solver: str
    budgets: list[dict[str, Any]]
    ties: list[list[str]]
    kernels: list[str]
    fractional_bits: str


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """H. `use`: calibration, search, fine-tune, selection, test → `{split, images, labels, labels_read, overlap_with_test, how}`."""

    letter, title = "H", "Data and labels"
    use: dict[str, dict[str, Any]]
    overlap_with_test: Any
    synthetic: str
    teacher: str


@dataclass(frozen=True, kw_only=True)
class Resources(Section):
    """I. `passes`: phase → `{forward, backward, labels, scored}`."""

    letter, title = "I", "Resources"
    tier: str
    device: str
    seconds: dict[str, float]
    gpu_hours: Any
    passes: dict[str, dict[str, int]]
    epochs: dict[str, Any]
    peak_memory_bytes: Any
    hyperparameters_tuned: list[str]


@dataclass(frozen=True, kw_only=True)
class Result(Section):
    """J."""

    letter, title = "J", "Result"
    metric: str
    split: str
    mean: Any
    std: Any
    by_seed: dict[str, Any]
    delta_to_float: Any
    full_split: Any
    worst_class: Any


@dataclass(frozen=True, kw_only=True)
class Costs(Section):
    """K."""

    letter, title = "K", "Cost"
    file_bytes: int
    weight_bytes: int
    mean_weight_bits: float
    mean_weight_bits_without_ends: Any
    mean_input_bits: Any
    mean_activation_bytes: float
    peak_activation_bytes: float
    peak_live_bytes: float
    bops: int
    bops_with_additions: float
    scale_bytes: int
    symmetric_weight_cost_bits: float
    latency: Any
    energy: str


@dataclass(frozen=True, kw_only=True)
class Hardware(Section):
    """L. `runtimes`: kind of runtime → whether it can run this network."""

    letter, title = "L", "Hardware contract"
    datatypes: dict[str, list[str]]
    zero_point_correction: bool
    zero_point: str
    accumulator_bits: Any
    requantization: str
    grouping: str
    runtimes: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class Flip(Section):
    """One tradeoff flipped, everything else as it is; `status` is `measured`, `n/a` or `not run`."""

    letter, title = "M", "Flip"
    toggle: str
    what: str
    status: str
    metric_change: Any
    cost_change: dict[str, Any]
    note: str


@dataclass(frozen=True, kw_only=True)
class Ablation(Section):
    """M."""

    letter, title = "M", "Confounder flips"
    path: str
    samples: int
    unflipped_metric: Any
    flips: list[Flip]


@dataclass(frozen=True, kw_only=True)
class Provenance(Section):
    """N."""

    letter, title = "N", "Provenance and warnings"
    command: str
    config_file: str
    packages: dict[str, str]
    failed_checks: list[str]
    warnings: list[str]
    comparability_group: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card, sections A to N."""

    identity: Identity
    model: Model
    coverage: Coverage
    formats: Formats
    granularity: Granularity
    ranges: Ranges
    precision: Precision
    data: Data
    resources: Resources
    result: Result
    costs: Costs
    hardware: Hardware
    ablation: Ablation
    provenance: Provenance

    @property
    def sections(self) -> list[Section]:
        """A to N."""
        return [getattr(self, place.name) for place in fields(self)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite becomes `n/a`."""
        return {place.name: _plain(getattr(self, place.name)) for place in fields(self)}

    def to_json(self) -> str:
        """`card.json`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Card:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a section or field that is missing or unknown, with its path.
        """
        _check(cls, plain, "card")
        sections = {name: _read(kind, plain[name], f"card.{name}") for name, kind in _SECTIONS.items()}
        return cls(**sections)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Inverse of `to_json`."""
        return cls.from_dict(json.loads(text))


_SECTIONS: dict[str, type[Any]] = {
    "identity": Identity,
    "model": Model,
    "coverage": Coverage,
    "formats": Formats,
    "granularity": Granularity,
    "ranges": Ranges,
    "precision": Precision,
    "data": Data,
    "resources": Resources,
    "result": Result,
    "costs": Costs,
    "hardware": Hardware,
    "ablation": Ablation,
    "provenance": Provenance,
}


def _read(kind: type[Any], plain: Any, path: str) -> Any:
    _check(kind, plain, path)
    values = dict(plain)
    if kind is Ablation:
        values["flips"] = [_read(Flip, flip, f"{path}.flips[{number}]") for number, flip in enumerate(values["flips"])]
    return kind(**values)


def _check(kind: type[Any], plain: Any, path: str) -> None:
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{path}: an object with fields is needed, not {type(plain).__name__}", path=path)
    wanted = {place.name for place in fields(kind)}
    for name in sorted(wanted - plain.keys()):
        raise ConfigError(f"{path}.{name}: this field is missing; fill it, with '{NA}' where it does not apply", path=f"{path}.{name}")
    for name in sorted(plain.keys() - wanted):
        raise ConfigError(f"{path}.{name}: a card has no such field; leave it out", path=f"{path}.{name}")


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {place.name: _plain(getattr(value, place.name)) for place in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return na(f"{value} is not a number")
    return value
