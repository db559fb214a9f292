"""`Summary`: the results of a run, as the report shows them and `summary.json` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.plain import as_plain
from mpsearch.core.record import Record, Score
from mpsearch.core.table import Table

__all__ = ["Reference", "Summary", "table_from_dict"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The float network: its scores by split (`validation`, `test`) and its cost by cost name (`size`: bytes of float32)."""

    scores: Mapping[str, Score]
    costs: Mapping[str, float]


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
        artifact_bytes: its size on disk.
        card: path of the quantization card, relative to the run directory; empty if there is none.
        budgets: the limits.
        layers: in forward order.
        tables: the signals, each with its own unit.
        reachable: cost name → (smallest, largest) the space can reach.
        reference: the float network.
        trials: all records of the study, by number.
        winner: the retrained winner; `rung` is `full` and `origin` that of its trial.
        uniform: the best uniform allocation that fits, retrained with the same recipe; None if none fits.
        control: the float network, trained further for as many epochs with the same recipe; None if the study asks for none.
        test: scores on the test split by `float`, `winner`, `uniform`, `control`.
    formats: tuple[NumberFormat, ...]
        delivered: files that are handed over, relative to the run directory → SHA-256.
        seconds: wall seconds by phase.
        surrogate: quality of its leave-one-out predictions: `count`, rank `correlation`, `error` in nats of log loss, and the shares
            `covered50` and `covered90` of scores inside their intervals; empty where there are too few scores.
        skipped: steps that the run left out, one sentence each.
    """

    name: str
    model: str
    data: str
    metric: str
    seed: int
    effort: str
    command: str
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
    delivered: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    surrogate: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, in the order of the fields (NaN in tables becomes null)."""
        return dict(as_plain(self))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Summary:
        """Inverse of `to_dict`."""
        fields = {name: value for name, value in plain.items() if name != "digest"}  # of a file
        fields["budgets"] = tuple(Budget(**budget) for budget in fields["budgets"])
        fields["layers"] = tuple(
            Layer(**{**layer, "weight_shape": tuple(layer["weight_shape"]), "aliases": tuple(layer["aliases"])})
            for layer in fields["layers"]
        )
        fields["tables"] = tuple(table_from_dict(table) for table in fields["tables"])
        fields["reachable"] = {cost: (bounds[0], bounds[1]) for cost, bounds in fields["reachable"].items()}
        reference = fields["reference"]
        fields["reference"] = Reference(scores={k: Score(**v) for k, v in reference["scores"].items()}, costs=reference["costs"])
        fields["trials"] = tuple(Record.from_dict(record) for record in fields["trials"])
        for name in ("winner", "uniform", "control"):
            fields[name] = None if fields[name] is None else Record.from_dict(fields[name])
        fields["test"] = {split: Score(**score) for split, score in fields["test"].items()}
        fields["formats"] = tuple(NumberFormat.parse(format) for format in fields["formats"])
        fields["skipped"] = tuple(fields["skipped"])
        return cls(**fields)

    @property
    def winning_allocation(self) -> Allocation:
        """The allocation of the winner."""
        return self.winner.allocation


def table_from_dict(plain: Mapping[str, Any]) -> Table:
    """A table from its plain data; inverse of `as_plain`."""
    fields = dict(plain)
    fields["layers"] = tuple(fields["layers"])
    fields["choices"] = tuple(Choice.parse(choice) for choice in fields["choices"])
    values = np.array(fields["values"], dtype=np.float64)  # null becomes NaN
    fields["values"] = values.reshape(len(fields["layers"]), len(fields["choices"]))
    return Table(**fields)
