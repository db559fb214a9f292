"""`trials_frame`: the trials of a run as a pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpsearch.core.extras import needs
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["trials_frame"]


def trials_frame(summary: Summary) -> DataFrame:
    """One row for each trial, by number.

    Columns: `origin`, `status`, `feasible`, `rung` (the deepest reached), then `loss`, `error` and the metric by its name at that rung,
    each cost by its name, `seconds`, `note`; `score.RUNG` the metric of every rung; `param.NAME` the hyperparameters; `bits.LAYER` the
    choices. What a trial lacks is missing.

    Raises:
        ConfigError: pandas is not installed.
    """
    needs("to_dataframe", "pandas", "pandas")
    import pandas as pd

    rows = [_row(record, summary.metric) for record in summary.trials]
    return pd.DataFrame(rows, index=pd.Index([record.number for record in summary.trials], name="trial"))


def _row(record: Record, metric: str) -> dict[str, Any]:
    score = record.score if record.scored else None
    return {
        "origin": record.origin,
        "status": record.status,
        "feasible": record.feasible,
        "rung": record.rung or None,
        "loss": None if score is None else score.loss,
        "error": None if score is None else score.error,
        metric: None if score is None else score.metric,
        **record.costs,
        "seconds": record.seconds,
        "note": record.note,
        **{f"score.{rung}": each.metric for rung, each in record.scores.items()},
        **{f"param.{name}": value for name, value in record.params.items()},
        **{f"bits.{layer}": str(choice) for layer, choice in record.allocation.items()},
    }
