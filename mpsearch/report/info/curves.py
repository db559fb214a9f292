"""Numbers of the retraining: metric and loss per epoch of the winner, the best uniform allocation and the float control."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.report.wording import metric_text

__all__ = ["Curve", "CurvesInfo", "curves_info"]

_MISSING = float("nan")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One retraining: `epochs [E]`, validation `metric [E]`, training `loss [E]`; NaN where an epoch was not measured."""

    name: str
    epochs: tuple[float, ...]
    metric: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CurvesInfo:
    """All retrainings of a run.

    Args:
        metric: name of the metric.
        curves: those with at least one epoch, in the order winner, uniform, control.
        float_metric: validation metric of the float network.
        missing: one sentence for each of the three that has no curve.
        finding: one sentence that says what is seen.
        empty: why there is nothing to draw, or "".
    """

    metric: str
    curves: tuple[Curve, ...]
    float_metric: float
    missing: tuple[str, ...]
    finding: str
    empty: str


_ABSENT = {
    "winner": "The winner was not retrained in this run.",
    "uniform": "No uniform allocation was retrained in this run.",
    "control": "No float control was trained in this run.",
}


def curves_info(summary: Summary) -> CurvesInfo:
    """Numbers of the retraining."""
    records = {"winner": summary.winner, "uniform": summary.uniform, "control": summary.control}
    curves = tuple(_curve(name, record) for name, record in records.items() if record is not None and record.curve)
    drawn = {curve.name for curve in curves}
    finding = "; ".join(
        f"{curve.name} ends at {metric_text(summary.metric, curve.metric[-1])} after {curve.epochs[-1]:g} "
        f"epoch{'' if curve.epochs[-1] == 1 else 's'}"
        for curve in curves
        if curve.metric[-1] == curve.metric[-1]
    )
    return CurvesInfo(
        metric=summary.metric,
        curves=curves,
        float_metric=summary.reference.scores["validation"].metric,
        missing=tuple(sentence for name, sentence in _ABSENT.items() if name not in drawn),
        finding=finding[:1].upper() + finding[1:] + "." if finding else "",
        empty="" if curves else "Nothing was retrained in this run.",
    )


def _curve(name: str, record: Record) -> Curve:
    return Curve(
        name=name,
        epochs=tuple(float(row.get("epoch", index + 1)) for index, row in enumerate(record.curve)),
        metric=tuple(float(row.get("metric", _MISSING)) for row in record.curve),
        loss=tuple(float(row.get("loss", _MISSING)) for row in record.curve),
    )
