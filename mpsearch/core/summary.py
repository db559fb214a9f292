"""`Summary`: the results of a run, as the report shows them and `summary.json` holds them."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.checked import Long, checked
from mpsearch.core.errors import ConfigError
from mpsearch.core.json_data import json_data
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.promises import Foresight, Kept, MeasuredLatency
from mpsearch.core.record import Record, Score
from mpsearch.core.statistics import WAYS, StatisticsChoice
from mpsearch.core.table import Table
from mpsearch.core.unquantized import Unquantized

__all__ = ["CARD", "WEIGHT_OF", "Comparison", "PointOfFront", "Reference", "Summary", "table_from_dict"]

CARD = "card.md"
"""Name of the quantization card."""
WEIGHT_OF = "weight of "
"""Beginning of the keys in a table's `cost` that make it a mixture of signals."""

_FILE = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,255}")
_COST = re.compile(r"[\w.-]+")
_SURROGATE = {"count", "correlation", "covered50", "covered90"}
_DIMENSIONS = 16
_RUNGS = 32
_BUDGETS = 16
_TABLES = 64


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The float network: its scores by split (`validation`, `test`) and its cost by cost name (`size`: bytes of float32)."""

    scores: Mapping[str, Score]
    costs: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The search's own network against a rival that was trained alike, on the same validation samples.

    Args:
        rival: its name, such as `uniform w2af`.
        gain: error of the search's network − error of the rival; above zero the rival is better.
        noise: standard error of the gain.
        delivered: whether the rival is delivered: it is better by more than the noise, and better than other such rivals.
    """

    rival: Long
    gain: float
    noise: float
    delivered: bool = False


@dataclass(frozen=True, kw_only=True)
class PointOfFront:
    """A network of the front that was retrained and delivered, in a folder of its own.

    Args:
        name: of the folder.
        record: its scores and costs.
        artifact: name of its file.
        artifact_bytes: size of the file.
        digest: SHA-256 of the file.
    """

    name: str
    record: Record
    artifact: str
    artifact_bytes: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a run.

    Args:
        name: study name.
        model: name of the model.
        data: name of the data.
        metric: name of `Score.metric`, such as `accuracy`.
        seed: of the run.
        effort: `quick`, `normal` or `thorough`.
        command: the command line.
        artifact: path of the exported file, relative to the run directory.
        artifact_bytes: its size where it runs.
        card: path of the quantization card, relative to the run directory; empty if there is none.
        budgets: the limits.
        layers: in forward order.
        tables: the signals, each with its own unit.
        reachable: cost name → (smallest, largest) the space can reach.
        reference: the float network.
        trials: all records of the study, by number.
        winner: the delivered network; `rung` is `full` and `origin` that of its trial.
        uniform: the best uniform allocation that fits, retrained with the same recipe; None if none fits.
        control: the float network, trained further for as many epochs with the same recipe; None if the study asks for none.
        test: scores on the test split by `float`, `winner`, `uniform`, `uniform_spent`, `searched`, `control`.
        formats: that each layer of the artifact is stored in.
        layer_bytes: of the artifact, for each layer; empty if they are those of the packed layout.
        delivered: files that are handed over, relative to the run directory → SHA-256.
        seconds: wall seconds by phase.
        surrogate: quality of its leave-one-out predictions: `count`, rank `correlation`, `error` in nats of log loss, and the shares
            `covered50` and `covered90` of scores inside their intervals; empty where there are too few scores.
        skipped: steps that the run left out, one sentence each.
        searched: the search's own network, retrained, if another one is delivered; None if the winner is that network.
        uniform_spent: the best uniform allocation with what it leaves of the budgets spent on further bits, retrained alike.
        noise: standard error of the winner's validation error; None if it was not estimated.
        comparisons: of the search's network with every rival that could have been delivered.
        batchnorm: how the statistics of untrained allocations follow quantization; None where nothing was chosen.
        unquantized: what stays float whatever the bits; empty in summaries of earlier versions.
        front: where a budget is a range, the points below the winner that were retrained alike, the cheapest first.
        kept: what was to be kept of the float metric; None where the budgets alone were asked for.
        latency: of the delivered file, measured; None without a measured latency profile of the study's target.
        foresight: what was expected of the retraining before it began; None where nothing was retrained, or no trial stood for it.
        place: where the artifact's bytes lie.
    """

    name: str
    model: str
    data: Long
    metric: str
    seed: int
    effort: str
    command: Long
    artifact: str
    artifact_bytes: int
    card: str = ""
    budgets: tuple[Budget, ...]
    layers: tuple[Layer, ...]
    tables: tuple[Table, ...] = ()
    reachable: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reference: Reference
    trials: tuple[Record, ...] = ()
    winner: Record
    uniform: Record | None = None
    control: Record | None = None
    test: Mapping[str, Score] = field(default_factory=dict)
    formats: tuple[NumberFormat, ...]
    layer_bytes: tuple[int, ...] = ()
    delivered: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    surrogate: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[Long, ...] = ()
    searched: Record | None = None
    uniform_spent: Record | None = None
    noise: float | None = None
    comparisons: tuple[Comparison, ...] = ()
    batchnorm: StatisticsChoice | None = None
    unquantized: tuple[Unquantized, ...] = ()
    front: tuple[PointOfFront, ...] = ()
    latency: MeasuredLatency | None = None
    kept: Kept | None = None
    foresight: Foresight | None = None
    place: str = "on disk"

    def to_dict(self) -> dict[str, Any]:
        """JSON data, in the order of the fields (NaN in tables becomes null)."""
        return dict(json_data(self))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Summary:
        """Inverse of `to_dict`, for a file that may be a stranger's: what is returned can be drawn.

        Raises:
            ConfigError: a value is not what its field declares, or contradicts another.
        """
        summary = checked(cls, {name: value for name, value in document.items() if name != "digest"})  # of a file
        for rule in _broken(summary):
            raise ConfigError(rule)
        return summary

    @property
    def mixed(self) -> Record:
        """The best network that is not a uniform reference: the winner, or the search's own if a uniform one is delivered."""
        references = [record.allocation for record in (self.uniform, self.uniform_spent) if record is not None]
        return self.searched if self.searched is not None and self.winner.allocation in references else self.winner

    def _repr_html_(self) -> str:
        """How a notebook shows the run. By name, as a registry finds its members: what draws stands on a higher floor."""
        return str(importlib.import_module("mpsearch.report.notebook").summary_html(self))

    @property
    def winning_allocation(self) -> Allocation:
        """The allocation of the winner."""
        return self.winner.allocation


def table_from_dict(document: Mapping[str, Any]) -> Table:
    """A table from its JSON data; inverse of `json_data`.

    Raises:
        ConfigError: a value is not what its field declares.
    """
    return checked(Table, document)


def _broken(summary: Summary) -> Iterator[str]:
    """Rules that the values of a summary break together."""
    names = {layer.name for layer in summary.layers}
    if not names or len(names) < len(summary.layers):
        yield "layers must be one or more, each with a name of its own"
    for layer in summary.layers:
        if not 0 < len(layer.weight_shape) <= _DIMENSIONS or min(*layer.weight_shape, layer.channels) < 1:
            yield f"layer {layer.name!r} must have 1 to {_DIMENSIONS} dimensions and channels, each of one element or more"
    if sum(layer.input_elements for layer in summary.layers) < 1:
        yield "layers must have inputs of one element or more"
    if len(summary.formats) != len(names):
        yield f"formats must be one for each of the {len(names)} layers, not {len(summary.formats)}"
    if summary.layer_bytes and (len(summary.layer_bytes) != len(names) or min(summary.layer_bytes) < 1):
        yield f"layer_bytes must be empty, or one number above zero for each of the {len(names)} layers"
    for name in (summary.artifact, *summary.delivered, *(name for point in summary.front for name in (point.name, point.artifact))):
        if not _FILE.fullmatch(name):
            yield f"{name!r} must be the plain name of a file in the run directory"
    if summary.card not in ("", CARD):
        yield f"card must be {CARD!r} or empty, not {summary.card!r}"
    if summary.batchnorm is not None and not {summary.batchnorm.chosen} <= set(summary.batchnorm.divergences) <= set(WAYS):
        yield f"batchnorm must choose one of {', '.join(WAYS)}, and hold its divergences"
    if summary.artifact_bytes < 1:
        yield f"artifact_bytes must be 1 or more, not {summary.artifact_bytes}"
    for group in summary.unquantized:
        if (
            min(group.tensors, len(group.largest)) < 1
            or len(group.largest) != len(group.largest_bytes)
            or min(group.bytes, group.parameters) < 0
        ):
            yield f"unquantized: {group.reason!r} must have one tensor or more, a size for each that is named, and no negative number"
    yield from _broken_amounts(summary)
    yield from _broken_records(summary, names)
    yield from _broken_tables(summary, names)


def _broken_amounts(summary: Summary) -> Iterator[str]:
    costs = [budget.cost for budget in summary.budgets]
    for cost in costs:
        if not _COST.fullmatch(cost):
            yield f"the name of a cost must be letters, digits, '_', '-' and '.', not {cost!r}"
        if cost not in summary.reachable:
            yield f"reachable must hold the range of the cost {cost!r}, which has a budget"
    if len(set(costs)) < len(costs) or len(costs) > _BUDGETS:
        yield f"budgets must be one for each cost, and at most {_BUDGETS}"
    if not all(0 < budget.limit < math.inf for budget in summary.budgets):
        yield "budgets must have limits above zero"
    if not all(0 < budget.least < budget.limit for budget in summary.budgets if budget.least is not None):
        yield "a budget that is a range must begin above zero and below its limit"
    for name, bounds in summary.reachable.items():
        if not all(map(math.isfinite, bounds)):
            yield f"reachable must be finite, which that of {name!r} is not"
    for phase, spent in summary.seconds.items():
        if not 0 <= spent < math.inf:
            yield f"seconds must be finite and not negative, not {spent} for {phase!r}"
    if summary.kept is not None and not (math.isfinite(summary.kept.metric) and summary.kept.cost in costs):
        yield "kept must have a finite metric, and a cost that has a budget"
    measured = summary.latency
    if measured is not None and not 0 < measured.low <= measured.median <= measured.high < math.inf:
        yield "latency must have quartiles above zero, with the median between them"
    if summary.surrogate and not summary.surrogate.keys() >= _SURROGATE:
        yield f"surrogate must be empty or hold {', '.join(sorted(_SURROGATE))}"


def _broken_records(summary: Summary, names: set[str]) -> Iterator[str]:
    needed = {"size", *(budget.cost for budget in summary.budgets)}
    ended = {
        "winner": summary.winner,
        "uniform": summary.uniform,
        "uniform_spent": summary.uniform_spent,
        "searched": summary.searched,
        "control": summary.control,
    }
    delivered = {name: record for name, record in ended.items() if record is not None}
    delivered |= {f"front {point.name}": point.record for point in summary.front}
    told = {f"trial {record.number}": record for record in summary.trials}
    if len(told) < len(summary.trials):
        yield "trials must have numbers of their own"
    for name, record in {**told, **delivered}.items():
        if name != "control" and record.allocation.keys() != names:
            yield f"{name}: allocation must have a choice for each layer, and for nothing else"
        if record.status != "complete" and name in told:
            continue
        if not record.scored:
            yield f"{name}: there is no score at the rung {record.rung!r}"
        if name != "control" and not all(math.isfinite(record.costs.get(cost, math.nan)) for cost in needed):
            yield f"{name}: costs must hold finite numbers for {', '.join(sorted(needed))}"
    if len({record.rung for record in told.values()}) > _RUNGS:
        yield f"trials must have at most {_RUNGS} different rungs"
    if "validation" not in summary.reference.scores or not math.isfinite(summary.reference.costs.get("size", math.nan)):
        yield "reference must have a score by the name of validation, and a size"
    if summary.test and not {"float", "winner", *(["uniform"] if summary.uniform else [])} <= summary.test.keys():
        yield "test must be empty, or hold the scores of float, winner and uniform"
    shown = [summary.reference.scores["validation"], *summary.test.values(), *(record.score for record in delivered.values())]
    if not all(math.isfinite(number) for score in shown for number in (score.loss, score.error, score.metric)):
        yield "the scores of reference, winner, uniform, control and test must be finite"


def _broken_tables(summary: Summary, names: set[str]) -> Iterator[str]:
    used = {choice for record in summary.trials for choice in set(record.allocation.values())}
    if len(summary.tables) > _TABLES:
        yield f"tables must be at most {_TABLES}"
    for table in summary.tables:
        if set(table.layers) != names or len(table.layers) != len(names) or not used <= set(table.choices):
            yield f"table {table.name!r} must have a row for each layer and a column for each choice of the trials"
        for signal in (key.removeprefix(WEIGHT_OF) for key in table.cost if key.startswith(WEIGHT_OF)):
            needed = {"correlation", "measured allocations", "floor", f"share of {signal}", f"correlation of {signal}"}
            if not needed <= table.cost.keys() or not math.isfinite(table.cost["measured allocations"]):
                yield f"cost of table {table.name!r}, which is a mixture, must hold {', '.join(sorted(needed))}"
