"""What the script of a page is told of fronts and charts, as JSON data; all text in it is shown as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat
from mpsearch.costs import COSTS
from mpsearch.costs.budgets import format_amount
from mpsearch.report import palette
from mpsearch.report.info.explorer import CostAxis, Expected, ExplorerInfo, Mark, ShownRun
from mpsearch.report.wording import cost_title, format_text, format_words, is_fraction, metric_text, shape_text

__all__ = ["axis_of_cost", "explorer_data", "mark_of_rung", "role_of_run"]

_BASE = 0x4E00
"""Code point that stands for a layer's first choice: bits of a trial are a string with a letter for each layer."""
_ROLES = {"ptq": "ptq", "supernet": "supernet", "short": "short", "long": "long", "full": "full"}
_SHAPES = {"circle": "circle", "square": "square", "triangle-up": "triangle", "star": "star"}
_DELIVERED = {
    # kind → (role, shape, size, name in the legend)
    "searched": ("full", "diamond", 6.5, "search's own"),
    "uniform": ("uniform", "diamond", 7, "best uniform"),
    "front": ("winner", "star", 6.5, "points of the front, retrained"),
    "winner": ("winner", "star", 9.5, "winner"),
}
_MEASURED = {
    "ptq": "measured, nothing trained",
    "supernet": "measured, with shared weights",
    "short": "measured, after a short training",
    "long": "measured, after a longer training",
    "full": "measured, retrained in full",
}


def explorer_data(info: ExplorerInfo) -> dict[str, Any]:
    """The explorer's content: see `web/explorer.js` for how it is read."""
    metric = info.metric
    kinds = [
        {
            "key": f"trial-{rung}",
            "role": mark_of_rung(rung)[0],
            "shape": mark_of_rung(rung)[1],
            "name": palette.rung_title(rung),
            "size": 5.5,
        }
        for rung in info.rungs
    ]
    there = {mark.kind for mark in info.marks}
    kinds += [
        {"key": kind, "role": role, "shape": shape, "name": name, "size": size}
        for kind, (role, shape, size, name) in _DELIVERED.items()
        if kind in there
    ]
    menus = [_menu(info, place) for place in range(len(info.runs))]
    return {
        "metric": metric,
        "fraction": is_fraction(metric),
        "first": info.first,
        "hidden": info.hidden,
        "view": info.view,
        "all": info.everything,
        "base": _BASE,
        "finding": f"Validation {metric} against cost; each mark is a network that can be picked.",
        "kinds": kinds,
        "costs": [_cost(axis) for axis in info.axes],
        "runs": [_run(run, place, menus[place], metric, alone=len(info.runs) == 1) for place, run in enumerate(info.runs)],
        "points": [_point(info, mark, menus[mark.run]) for mark in info.marks],
    }


def mark_of_rung(rung: str) -> tuple[str, str]:
    """(role, shape) of the marks of a rung."""
    return _ROLES.get(rung, "other"), _SHAPES.get(palette.rung_mark(rung), "diamond")


def role_of_run(place: int) -> str:
    """Role of all marks of a run among several."""
    return f"run-{place % len(palette.OF_RUNS)}"


def axis_of_cost(axis: CostAxis) -> dict[str, Any]:
    """A horizontal axis."""
    unit = COSTS[axis.name].unit if axis.name in COSTS else ""
    kind = "number" if unit in ("", "bit") else "si"
    return {"title": cost_title(axis.name), "low": axis.low, "high": axis.high, "log": axis.log, "kind": kind, "unit": unit}


def _cost(axis: CostAxis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "title": cost_title(axis.name),
        "axis": axis_of_cost(axis),
        "fronts": axis.fronts,
        "knees": axis.knees,
    }


def _menu(info: ExplorerInfo, place: int) -> dict[Choice, int]:
    """Every choice of a run's marks, numbered."""
    choices = {choice for mark in info.marks if mark.run == place for choice in mark.record.allocation.values()}
    return {choice: number for number, choice in enumerate(sorted(choices))}


def _run(run: ShownRun, place: int, menu: dict[Choice, int], metric: str, *, alone: bool) -> dict[str, Any]:
    summary = run.summary
    float_metric = summary.reference.scores["validation"].metric
    return {
        "name": run.name,
        "role": "winner" if alone else role_of_run(place),
        "float": {"value": float_metric, "text": metric_text(metric, float_metric)},
        "budgets": {budget.cost: {"limit": budget.limit, "text": str(budget)} for budget in summary.budgets},
        "layers": [
            {"name": layer.name, "weights": f"{layer.weights:,}", "shape": f"{layer.kind}, {shape_text(layer.weight_shape)}"}
            for layer in summary.layers
        ],
        "choices": [
            {
                "text": str(choice),
                "words": f"weights {format_words(choice.weight)}, input {format_words(choice.activation)}",
                "weight": format_text(choice.weight),
                "bits": _height(choice.weight),
                "input": format_text(choice.activation),
                "inputBits": _height(choice.activation),
                "quantized": any(not each.activation.is_float for each in menu),
            }
            for choice in menu
        ],
    }


def _height(format: NumberFormat) -> float:
    return 32.0 if format.is_float else format.bits_per_value


def _point(info: ExplorerInfo, mark: Mark, menu: dict[Choice, int]) -> dict[str, Any]:
    run, record = info.runs[mark.run], mark.record
    names = [layer.name for layer in run.summary.layers]
    return {
        "id": mark.id,
        "run": mark.run,
        "name": mark.name,
        "kind": f"trial-{mark.rung}" if mark.kind == "trial" else mark.kind,
        "metric": record.score.metric,
        "shown": metric_text(info.metric, record.score.metric),
        "basis": _MEASURED.get(mark.rung, f"measured, {mark.rung}").removeprefix("measured, "),
        "fits": mark.fits,
        "origin": f"proposed by {record.origin}" if mark.kind == "trial" else "",
        "bits": "".join(chr(_BASE + menu[record.allocation[name]]) for name in names),
        "figures": list(_figures(info, mark)),
        "costs": {
            axis.name: {
                "value": float(record.costs[axis.name]),
                "text": format_amount(axis.name, float(record.costs[axis.name])),
                "title": cost_title(axis.name),
            }
            for axis in info.axes
        },
        "commands": [{"text": each.text, "purpose": each.purpose} for each in run.details.commands.get(record.allocation, ())],
    }


def _figures(info: ExplorerInfo, mark: Mark) -> Iterator[dict[str, Any]]:
    """What the surrogate expects, every score, and that on the test split, each with what kind of figure it is."""
    expected = info.runs[mark.run].details.expected.get(mark.record.allocation)
    if expected is not None:
        yield _expected(info.metric, expected)
    for rung, score in mark.record.scores.items():
        trained = mark.rung if rung == "full" else rung
        yield _figure("full" if rung == "full" else rung, info.metric, score.metric, _MEASURED.get(trained, f"measured, {trained}"))
    if mark.test is not None:
        yield _figure("test", info.metric, mark.test.metric, "measured on the test split, which is read once")


def _expected(metric: str, expected: Expected) -> dict[str, Any]:
    interval = f"{metric_text(metric, expected.low)} to {metric_text(metric, expected.high)} with 90 %"
    kind = f"{interval}: the surrogate's prediction after all trials, for {palette.rung_title(expected.rung)}"
    return _figure("expected", metric, expected.metric, kind)


def _figure(name: str, metric: str, value: float, kind: str) -> dict[str, Any]:
    titles = {"full": "final", "test": "test", "expected": "expected", "ptq": "calibrated", "short": "short QAT", "long": "longer QAT"}
    return {"name": titles.get(name, palette.rung_title(name)), "kind": kind, "value": value, "text": metric_text(metric, value)}
