"""The sections of a card, A to N: which fields there are. What each may hold is said in `schema`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "Ablation",
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
]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Base of the card's sections."""

    letter: ClassVar[str]
    title: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Identity(Section):
    """A. Which configuration, made when and by which code; `config_id` is the SHA-256 of the study with its bits, in canonical JSON."""

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
    """B. The float network, its score measured here, and the data; `macs` are those of the layers, one sample."""

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
    """D. Each: `{family, symmetric, zero_exact, narrow, codes, scale, rounding, saturating}`, weights alone `codes`."""

    letter, title = "D", "Number format"
    weights: dict[str, Any]
    activations: Any
    biases: Any


@dataclass(frozen=True, kw_only=True)
class Granularity(Section):
    """E. How many scales there are, weights and activations together, and what they take in the file."""

    letter, title = "E", "Granularity"
    weights: str
    activations: str
    scales: int
    scale_bytes: int


@dataclass(frozen=True, kw_only=True)
class Ranges(Section):
    """F. How ranges came about; `images` were looked at for activations, `batchnorm_images` for BatchNorm's statistics."""

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
    """G. `bits`: layer → [weight bits, input bits]; `allowed`, `kernels`: distinct pairs, spelled `w4a8`.

    `fractional_bits`: layer → mean sign planes a channel, where channels share a layer's bits out among themselves.
    """

    letter, title = "G", "Mixed precision"
    method: str
    bits: dict[str, str]
    allowed: list[str]
    signals: list[str]
    solver: str
    budgets: list[dict[str, Any]]
    ties: list[list[str]]
    kernels: list[str]
    fractional_bits: Any


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
    """J. The metric of the delivered file; `worst_class` is of the validation split, since the test split is read once."""

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
    """K. What the delivered file takes; bytes and operations of one sample.

    `mean_activation_bytes` and `peak_activation_bytes` are over single feature maps, `peak_live_bytes` over all that live at one moment;
    a map counts the bits of its most demanding reader.
    """

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
    """M. Flips of the delivered bits: how they were measured, on how many validation samples, against what."""

    letter, title = "M", "Confounder flips"
    path: str
    samples: int
    unflipped_metric: Any
    flips: list[Flip]


@dataclass(frozen=True, kw_only=True)
class Provenance(Section):
    """N. What to repeat the run with, what is wrong with it, and whom it may be compared with."""

    letter, title = "N", "Provenance and warnings"
    command: str
    config_file: str
    packages: dict[str, str]
    failed_checks: list[str]
    warnings: list[str]
    comparability_group: str
