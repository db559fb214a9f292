"""Signals against measurement: what a table predicts for the bits of a trial, and the loss measured with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Summary
from mpsearch.core.table import Table
from mpsearch.report.info.points import drawn, drawn_text

__all__ = ["SignalInfo", "SignalPair", "signal_infos", "spearman"]

_UNTRAINED = ("ptq", "supernet")
"""Rungs that do not train the trial itself."""
_LOG_FROM = 20.0
_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class SignalPair:
    """One trial: the `predicted` total in the unit of the table, and the `measured` validation loss before training."""

    number: int
    origin: str
    predicted: float
    measured: float


@dataclass(frozen=True, kw_only=True)
class SignalInfo:
    """One signal against the measured loss.

    Args:
        name: of the table.
        unit: of the table.
        pairs: by trial number; of thousands, those that are drawn.
        rho: Spearman's rank correlation; `None` below three pairs or where all are equal.
        float_loss: validation loss of the float network.
        log_predicted: whether the predictions span enough for a logarithmic axis.
        log_measured: the same for the losses.
        finding: one sentence that says what is seen.
        empty: why there is nothing to draw, or "".
    """

    name: str
    unit: str
    pairs: tuple[SignalPair, ...]
    rho: float | None
    float_loss: float
    log_predicted: bool
    log_measured: bool
    finding: str
    empty: str


def signal_infos(summary: Summary) -> tuple[SignalInfo, ...]:
    """One for every table of the run."""
    return tuple(_signal(table, summary.trials, summary.reference.scores["validation"].loss) for table in summary.tables)


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation: Pearson's correlation of the ranks, equal values sharing their mean rank.

    Args:
        a: `[N]`.
        b: `[N]`.

    Returns:
        In [−1, 1]; `None` below three values or if one side is constant.

    Reference:
        C. Spearman, "The proof and measurement of association between two things", 1904.
    """
    if len(a) < _FEWEST:
        return None
    ranks = [_ranks(np.asarray(side, dtype=np.float64)) for side in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: NDArray[np.float64] = last - (counts - 1) / 2
    return mean_rank[place]


def _signal(table: Table, trials: Sequence[Record], float_loss: float) -> SignalInfo:
    pairs = tuple(
        SignalPair(number=record.number, origin=record.origin, predicted=table.total(record.allocation), measured=score.loss)
        for record in trials
        if (score := _untrained(record)) is not None
    )
    pairs = tuple(pair for pair in pairs if math.isfinite(pair.predicted) and math.isfinite(pair.measured))
    predicted, measured = [pair.predicted for pair in pairs], [pair.measured for pair in pairs]
    rho = spearman(predicted, measured)
    finding = f"{len(pairs)} trials" if rho is None else f"Spearman \u03c1 = {rho:.2f} over {len(pairs)} trials".replace("-", "\u2212")
    return SignalInfo(
        name=table.name,
        unit=table.unit,
        pairs=drawn(pairs),
        rho=rho,
        float_loss=float_loss,
        log_predicted=_spans(predicted),
        log_measured=_spans(measured),
        finding=f"{table.name}: {finding}.{drawn_text(len(drawn(pairs)), len(pairs))}",
        empty="" if pairs else f"No trial was scored without training, so {table.name} cannot be compared with a measurement.",
    )


def _untrained(record: Record) -> Score | None:
    return next((record.scores[rung] for rung in _UNTRAINED if rung in record.scores), None)


def _spans(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) >= _LOG_FROM
