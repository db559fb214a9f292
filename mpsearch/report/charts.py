"""The plain charts of the page, as the specifications that `web/chart.js` draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mpsearch.report import palette
from mpsearch.report.explorer_data import mark_of_rung
from mpsearch.report.info import CurvesInfo, HistoryInfo, SignalInfo
from mpsearch.report.wording import is_fraction, metric_text

__all__ = ["curves_charts", "history_charts", "signals_charts"]

_HEIGHT = 340


def history_charts(info: HistoryInfo) -> list[dict[str, Any]]:
    """Trials in order, the best so far as a step line, failed trials at the foot."""
    series: list[dict[str, Any]] = []
    if info.best:
        steps = [{"x": p.number, "y": p.metric} for p in info.best]
        series.append({"kind": "step", "role": "best", "name": "best within the budget so far", "points": steps})
    for rung in info.rungs:
        role, shape = mark_of_rung(rung)
        points = [
            {
                "x": p.number,
                "y": p.metric,
                "css": "" if p.feasible else "pale",
                "tip": [
                    f"trial {p.number}",
                    f"{metric_text(info.metric, p.metric)} · {p.origin}",
                    *([] if p.feasible else ["over the budget"]),
                ],
            }
            for p in info.points
            if p.rung == rung
        ]
        series.append({"kind": "marks", "role": role, "shape": shape, "name": palette.rung_title(rung), "points": points})
    low, high = info.view
    if info.failed:
        foot = low + 0.02 * (high - low)
        points = [{"x": number, "y": foot, "tip": [f"trial {number} failed", note]} for number, note in info.failed]
        series.append({"kind": "marks", "role": "failed", "shape": "cross", "name": "failed", "points": points})
    last = max([*(p.number for p in info.points), *(number for number, _ in info.failed)])
    outside = f" · {info.hidden} below or above the picture" if info.hidden else ""
    x = {"title": f"trial{outside}", "low": -0.6, "high": last + 0.6, "kind": "whole"}
    return [{"height": _HEIGHT, "label": info.finding, "x": x, "y": _metric_axis(info.metric, low, high), "series": series}]


def signals_charts(infos: Sequence[SignalInfo]) -> list[dict[str, Any]]:
    """One panel a signal: the damage it predicts against the loss measured before training."""
    return [_signal(info) for info in infos]


def _signal(info: SignalInfo) -> dict[str, Any]:
    points = [
        {
            "x": pair.predicted,
            "y": pair.measured,
            "tip": [f"trial {pair.number}", f"predicted {pair.predicted:.4g}", f"measured {pair.measured:.4g}"],
        }
        for pair in info.pairs
    ]
    unit = f", {info.unit}" if info.unit else ""
    predicted = _axis([pair.predicted for pair in info.pairs], log=info.log_predicted)
    log = info.log_measured and info.float_loss > 0
    measured = _axis([*(pair.measured for pair in info.pairs), info.float_loss], log=log)
    return {
        "height": 330,
        "heading": info.finding.rstrip("."),
        "label": info.finding,
        "x": {**predicted, "title": f"{info.name}: predicted{unit}"},
        "y": {**measured, "title": "loss without training"},
        "lines": [{"axis": "y", "at": info.float_loss, "text": f"float {info.float_loss:.3g}", "role": "float"}],
        "series": [{"kind": "marks", "role": "long", "shape": "circle", "name": "", "points": points}],
    }


def curves_charts(info: CurvesInfo) -> list[dict[str, Any]]:
    """Validation metric and training loss by epoch, of all that was retrained."""
    epochs = [epoch for curve in info.curves for epoch in curve.epochs]
    x = {"title": "epoch", "low": min(epochs) - 0.3, "high": max(epochs) + 0.3, "kind": "whole"}
    panels = []
    for heading, column in (("metric", f"validation {info.metric}"), ("loss", "training loss")):
        series: list[dict[str, Any]] = []
        for curve in info.curves:
            values = curve.metric if heading == "metric" else curve.loss
            _, dash, title = palette.SERIES[curve.name]
            points = [
                {
                    "x": epoch,
                    "y": value,
                    "tip": [f"{title}, epoch {epoch:g}", metric_text(info.metric, value) if heading == "metric" else f"loss {value:.4g}"],
                }
                for epoch, value in zip(curve.epochs, values, strict=True)
                if math.isfinite(value)
            ]
            series.append({"kind": "line", "role": curve.name, "dash": dash, "name": title, "points": points})
            series.append({"kind": "marks", "role": curve.name, "shape": "circle", "size": 3.5, "name": "", "points": points})
        shown = [point["y"] for each in series for point in each["points"]]
        reference = [info.float_metric] if heading == "metric" else []
        y = {
            **_axis([*shown, *reference]),
            "title": column,
            "kind": "percent" if heading == "metric" and is_fraction(info.metric) else "number",
        }
        text = f"float {metric_text(info.metric, info.float_metric)}"
        lines = [{"axis": "y", "at": at, "text": text, "role": "float"} for at in reference]
        panels.append({"height": 320, "label": f"{column}. {info.finding}", "x": x, "y": y, "lines": lines, "series": series})
    return panels


def _metric_axis(metric: str, low: float, high: float) -> dict[str, Any]:
    return {"title": f"validation {metric}", "low": low, "high": high, "kind": "percent" if is_fraction(metric) else "number"}


def _axis(values: Iterable[float], *, log: bool = False) -> dict[str, Any]:
    """An axis that holds all values, with a margin."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if log and low > 0:
        factor = (high / low) ** 0.06 if high > low else 1.5
        return {"low": low / factor, "high": high * factor, "log": True, "kind": "number"}
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return {"low": low - margin, "high": high + margin, "log": False, "kind": "number"}
