"""The sections of a card, A to N: which fields each has. `schema` says what a field may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AblationSection",
    "CardSection",
    "CostSection",
    "CoverageSection",
    "DataSection",
    "Flip",
    "FormatSection",
    "GranularitySection",
    "HardwareSection",
    "IdentitySection",
    "ModelSection",
    "PrecisionSection",
    "ProvenanceSection",
    "RangeSection",
    "ResourceSection",
    "ResultSection",
]


@dataclass(frozen=True, kw_only=True)
class CardSection:
    """Base of the card's sections."""

    letter: ClassVar[str]
    title: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class IdentitySection(CardSection):
    """A. Which configuration this is, and which code made the card and when.

    `config_id` is the SHA-256 of the study with its bits, as canonical JSON.
    """

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
class ModelSection(CardSection):
    """B. The float network with its measured score, and the data; `macs` counts one sample through the layers."""

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
class CoverageSection(CardSection):
    """C. What is quantized.

    `scope` says it in words, `ends` how the first and the last layer are treated; `tensors` maps a class of tensors to
    `{quantized, bits}`, `parameters` is the share of the network's parameters that have bits, `stays_float` maps why a parameter or buffer
    has none to `{tensors, bytes, largest}`.
    """

    letter, title = "C", "Coverage"
    scope: str
    ends: str
    first_layer: dict[str, Any]
    last_layer: dict[str, Any]
    tensors: dict[str, Any]
    float_ops: Any
    parameters: float
    stays_float: Any


@dataclass(frozen=True, kw_only=True)
class FormatSection(CardSection):
    """D. Number formats of weights and activations: `{family, symmetric, zero_exact, narrow, codes, scale, rounding, saturating}`.

    Only weights have `codes`.
    """

    letter, title = "D", "Number format"
    weights: dict[str, Any]
    activations: Any
    biases: Any


@dataclass(frozen=True, kw_only=True)
class GranularitySection(CardSection):
    """E. How many scales there are, weights and activations together, and how many bytes they take in the file."""

    letter, title = "E", "Granularity"
    weights: str
    activations: str
    scales: int
    scale_bytes: int


@dataclass(frozen=True, kw_only=True)
class RangeSection(CardSection):
    """F. How ranges were found, from how many images for activations (`images`) and for BatchNorm (`batchnorm_images`).

    `statistics` says how BatchNorm follows quantization where nothing is trained, and what each way is worth.
    """

    letter, title = "F", "Ranges"
    weights: str
    activations: str
    static: bool
    images: int
    learned: bool
    bias_correction: str
    batchnorm_images: Any
    statistics: Any


@dataclass(frozen=True, kw_only=True)
class PrecisionSection(CardSection):
    """G. The allocation and how it was chosen.

    `bits` maps a layer to [weight bits, input bits]. `allowed` and `kernels` list distinct pairs, spelled `w4a8`.
    `fractional_bits` maps a layer to its mean number of sign planes where channels share the layer's bits unevenly.
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
class DataSection(CardSection):
    """H. Which samples each stage used.

    `use` maps calibration, search, fine-tune, selection and test to `{split, images, labels, labels_read, overlap_with_test, how}`.
    """

    letter, title = "H", "Data and labels"
    use: dict[str, dict[str, Any]]
    overlap_with_test: Any
    synthetic: str
    teacher: str


@dataclass(frozen=True, kw_only=True)
class ResourceSection(CardSection):
    """I. What the run took; `passes` maps a phase to `{forward, backward, labels, scored}`."""

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
class ResultSection(CardSection):
    """J. The metric of the delivered file; `worst_class` is measured on the validation split, since the test split is read once."""

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
class CostSection(CardSection):
    """K. What the delivered file costs; bytes and operations are those of one sample.

    `mean_activation_bytes` and `peak_activation_bytes` look at single feature maps, `peak_live_bytes` at all that are alive at one
    moment. A map counts the bits of its most demanding reader.
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
class HardwareSection(CardSection):
    """L. What hardware must support; `runtimes` maps a kind of runtime to whether it can run this network."""

    letter, title = "L", "Hardware contract"
    datatypes: dict[str, list[str]]
    zero_point_correction: bool
    zero_point: str
    accumulator_bits: Any
    requantization: str
    grouping: str
    runtimes: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One tradeoff decided the other way, everything else unchanged; `status` is `measured`, `n/a` or `not run`."""

    toggle: str
    what: str
    status: str
    metric_change: Any
    cost_change: dict[str, Any]
    note: str


@dataclass(frozen=True, kw_only=True)
class AblationSection(CardSection):
    """M. Flips of the delivered bits: how they were measured, on how many validation samples, and from which metric."""

    letter, title = "M", "Confounder flips"
    path: str
    samples: int
    unflipped_metric: Any
    flips: list[Flip]


@dataclass(frozen=True, kw_only=True)
class ProvenanceSection(CardSection):
    """N. How to repeat the run, what is wrong with it, and which cards it may be compared with."""

    letter, title = "N", "Provenance and warnings"
    command: str
    config_file: str
    packages: dict[str, str]
    failed_checks: list[str]
    warnings: list[str]
    comparability_group: str
