"""What `signals_table.py` measured, as a Markdown table: rank correlation of every signal's prediction with the measured loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.summary import table_from_dict
from mpsearch.core.table import Table
from mpsearch.signals.mix import mix, rank_correlation

Line = dict[str, Any]
Floats = NDArray[np.float64]
Predict = Callable[[list[Allocation]], Floats]

RESAMPLES = 500
HALVES = 200
FEWEST = 10
"""Allocations below which a rank correlation is not told."""

_EQUAL, _DAMAGE = "all in equal shares", "damage itself"
_MIXES = {"calibrated": "mix", "trained": "mix, trained"}
"""What the measured allocations that it was fitted to had gone through → the mixture's name."""

_CHOSEN = "`mix`, fitted to allocations measured the same way, against the signal that ranks those best"
_HALVED = "Against the signal that ranks one half of these allocations best, compared on the other half, mean over halves"
_HINDSIGHT = "Against the one that turns out best, known only afterwards"

RUNGS = {"calibrated": "calibration", "trained": "short training"}


def read_lines(path: Path) -> list[Line]:
    """The measurements in a file; a last line that was cut off by a kill is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def markdown(lines: list[Line]) -> str:
    """One table a task."""
    tasks = dict.fromkeys(line["task"] for line in lines)
    return "\n\n".join(_task_table(task, [line for line in lines if line["task"] == task]) for task in tasks) + "\n"


def _task_table(task: str, lines: list[Line]) -> str:
    budgets = list(dict.fromkeys(line["budget"] for line in lines))
    columns = [(budget, rung) for budget in budgets for rung in RUNGS if len(_measured(lines, budget, rung)) >= FEWEST]
    names = list(dict.fromkeys(line["name"] for line in lines if line["kind"] == "signal"))
    cells: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    against: dict[str, list[str]] = {_CHOSEN: [], _HALVED: [], _HINDSIGHT: []}
    for budget, rung in columns:
        here = _at(lines, budget)
        predictors = _predictors(here)
        judged = _measured(here, budget, rung)
        allocations = [_allocation(line, here) for line in judged]
        losses = np.array([line["loss"] for line in judged])
        predicted = {name: [predict(allocations) for predict in several] for name, several in predictors.items()}
        predicted[_EQUAL] = [np.sum([predicted[name][0] / predicted[name][0].min() for name in names], axis=0)]
        predicted[_DAMAGE] = [np.array([_calibrated(line, here)["divergence"] for line in judged])]
        for name, several in predicted.items():
            cells.setdefault(name, {})[budget, rung] = _rho(several, losses)
        if (own := _MIXES[rung] if _MIXES[rung] in predicted else _MIXES["calibrated"]) in predicted:
            told = (
                _against_chosen(predicted[own], predicted, losses, _chosen(here, own)),
                _against_halves(predicted[own], predicted, losses, names),
                _against_best(predicted[own], predicted, losses, names),
            )
            for whom, difference in zip(against, told, strict=True):
                against[whom].append(f"{budget}, {RUNGS[rung]}: {difference}")
    head = ["signal", *(f"\u03c1 at {budget} after {RUNGS[rung]}" for budget, rung in columns), "passes", "seconds"]
    rows = [head, ["---"] * len(head)]
    for name in [*names, _EQUAL, *_MIXES.values(), _DAMAGE]:
        if name in cells:
            values = [f"{mean:.2f} ± {spread:.2f}".replace("-", "\u2212") for mean, spread in (cells[name][column] for column in columns)]
            shown = name if name in (_EQUAL, _DAMAGE) else "`{}`{}{}".format(*name.partition(","))
            rows.append([shown, *values, *_costs(name, lines)])
    counts = ", ".join(f"{len(_measured(lines, budget, rung))} at {budget} after {RUNGS[rung]}" for budget, rung in columns)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    sentences = "".join(f"\n{whom}: {'; '.join(differences)}." for whom, differences in against.items() if differences)
    return f"**{task}** (allocations: {counts})\n\n{table}\n{sentences}"


def _at(lines: list[Line], budget: str) -> list[Line]:
    """Lines of one budget; a signal that was not computed at it counts as computed at the first."""
    own = {line["name"] for line in lines if line["kind"] == "signal" and line["budget"] == budget}
    return [line for line in lines if line["budget"] == budget or (line["kind"] == "signal" and line["name"] not in own)]


def _measured(lines: list[Line], budget: str, rung: str) -> list[Line]:
    return [line for line in lines if line["kind"] == rung and line["budget"] == budget and line["use"] == "judge"]


def _predictors(lines: list[Line]) -> dict[str, list[Predict]]:
    """Of one budget: every signal, and either `mix` once for each set of allocations it was fitted to."""
    tables = {line["name"]: table_from_dict(line["table"]) for line in lines if line["kind"] == "signal"}
    predictors: dict[str, list[Predict]] = {name: [_totals(table)] for name, table in tables.items()}
    for kind, name in _MIXES.items():
        for allocations, losses in _fitted(lines, kind):
            predictors.setdefault(name, []).append(_totals(mix(list(tables.values()), allocations, losses.tolist()).table))
    return predictors


def _fitted(lines: list[Line], kind: str) -> list[tuple[list[Allocation], Floats]]:
    """The sets of measured allocations that a mixture is fitted to, and what was measured: as in a study, where the signals' images tell.

    After calibration that is the divergence on training images, after training the loss on validation.
    """
    fits = [line for line in lines if line["kind"] == kind and line["use"] == "fit"]
    key = {"calibrated": "divergence", "trained": "loss"}[kind]
    sets = [[line for line in fits if line["seed"] == seed] for seed in dict.fromkeys(line["seed"] for line in fits)]
    return [([_allocation(line, lines) for line in own], np.array([line[key] for line in own])) for own in sets]


def _totals(table: Table) -> Predict:
    return lambda allocations: np.array([table.total(allocation) for allocation in allocations])


def _allocation(line: Line, lines: list[Line]) -> Allocation:
    layers = next(other["table"]["layers"] for other in lines if other["kind"] == "signal")
    return Allocation({layer: Choice.parse(text) for layer, text in zip(layers, line["bits"], strict=True)})


def _calibrated(line: Line, lines: list[Line]) -> Line:
    same = ("use", "seed", "index")
    return next(other for other in lines if other["kind"] == "calibrated" and all(other[key] == line[key] for key in same))


def _rho(several: list[Floats], losses: Floats) -> tuple[float, float]:
    """Mean rank correlation of the predictions, and its standard deviation over resampled allocations."""
    own = np.mean([rank_correlation(one, losses) for one in several])
    return float(own), float(np.mean([_resampled(one, losses) for one in several], axis=0).std())


def _chosen(lines: list[Line], mixture: str) -> list[str]:
    """For each set of allocations that a mixture is fitted to: the signal that ranks them best."""
    tables = {line["name"]: table_from_dict(line["table"]) for line in lines if line["kind"] == "signal"}
    (kind,) = (kind for kind, name in _MIXES.items() if name == mixture)
    return [
        max(tables, key=lambda name: rank_correlation(_totals(tables[name])(allocations), losses))
        for allocations, losses in _fitted(lines, kind)
    ]


def _against_chosen(mixed: list[Floats], predicted: dict[str, list[Floats]], losses: Floats, chosen: list[str]) -> str:
    """The mean difference to the signals chosen by the same measurements, with its standard deviation."""
    return _difference(mixed, [predicted[name][0] for name in chosen], losses, ", ".join(dict.fromkeys(chosen)))


def _against_halves(mixed: list[Floats], predicted: dict[str, list[Floats]], losses: Floats, names: list[str]) -> str:
    """The mean difference, over halves that judge, to the signal that the other half calls best: the best one, without its luck."""
    random, found, winners = np.random.default_rng(0), [], Counter[str]()
    for _ in range(HALVES):
        order = random.permutation(len(losses))
        for judge, choose in (np.array_split(order, 2), np.array_split(order, 2)[::-1]):
            best = max(names, key=lambda name: rank_correlation(predicted[name][0][choose], losses[choose]))
            winners[best] += 1
            own = np.mean([rank_correlation(one[judge], losses[judge]) for one in mixed])
            found.append(own - rank_correlation(predicted[best][0][judge], losses[judge]))
    return f"{np.mean(found):+.2f} (mostly `{winners.most_common(1)[0][0]}`)".replace("-", "\u2212")


def _against_best(mixed: list[Floats], predicted: dict[str, list[Floats]], losses: Floats, names: list[str]) -> str:
    """The difference to the signal with the highest correlation, with its standard deviation."""
    best = max(names, key=lambda name: _rho(predicted[name], losses)[0])
    return _difference(mixed, predicted[best], losses, best)


def _difference(mixed: list[Floats], others: list[Floats], losses: Floats, name: str) -> str:
    """Of mean rank correlations; the same resampled allocations for both."""
    apart = _rho(mixed, losses)[0] - _rho(others, losses)[0]
    spread = np.mean([_resampled(one, losses) for one in mixed], axis=0) - np.mean([_resampled(one, losses) for one in others], axis=0)
    return f"{apart:+.2f} \u00b1 {spread.std():.2f} (`{name}`)".replace("-", "\u2212")


def _resampled(predicted: Floats, losses: Floats) -> Floats:
    """Rank correlations `[RESAMPLES]` of allocations drawn with replacement."""
    rows = np.random.default_rng(0).integers(len(losses), size=(RESAMPLES, len(losses)))
    x, y = (rankdata(side[rows], axis=1) for side in (predicted, losses))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


def _costs(name: str, lines: list[Line]) -> list[str]:
    """Forward passes over the signals' images, a backward pass counted as two, and seconds; the mean over budgets."""
    signals = [line for line in lines if line["kind"] == "signal"]
    passes = seconds = 0.0
    for line in signals:
        if name in (*_MIXES.values(), _EQUAL, line["name"]):
            times, cost = sum(other["name"] == line["name"] for other in signals), line["table"]["cost"]
            passes += (cost["forwards"] + 2 * cost["backwards"]) / times
            seconds += cost["seconds"] / times
    if name == _DAMAGE:
        judged = [line for line in lines if line["kind"] == "calibrated" and line["use"] == "judge"]
        means = [np.mean([line[key] for line in judged]) for key in ("forwards", "seconds")]
        return [f"{means[0]:.0f} each", f"{means[1]:.1f} each"]
    trainings = ""
    for kind, mixture in _MIXES.items():
        if name == mixture:
            measured = [line for line in lines if line["kind"] == kind and line["use"] == "fit"]
            seeds = len({(line["budget"], line["seed"]) for line in measured})
            passes += sum(line.get("forwards", 0.0) for line in measured) / seeds
            seconds += sum(line["seconds"] for line in measured) / seeds
            trainings = f" and {len(measured) // seeds} trainings" if kind == "trained" else ""
    return [f"{passes:.0f}{trainings}", f"{seconds:.1f}"]
