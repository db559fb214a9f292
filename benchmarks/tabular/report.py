"""Runs → medians and quartiles, Markdown, and the bars."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.contest import BUDGETS, TRIALS, Contest
from benchmarks.tabular.runs import Run
from benchmarks.tabular.scores import hypervolume, regret
from benchmarks.tabular.truth import Truth, file_of

__all__ = ["COUNTS", "curves", "tables"]

COUNTS = (1, 3, 5, 10, 20, 30, 50, 100)
_FOUND = 1e-9
_US = "mpsearch"
_ONCE = ("MILP", "greedy")
_NONE = np.empty((0, len(COUNTS)))

Floats = NDArray[np.float64]


def curves(runs: Sequence[Run]) -> dict[tuple[str, str], dict[str, dict[str, Floats]]]:
    """(network, budget) → entry → `regret [S, TRIALS]`, `volume [S, counts]` of searches for a front, `seconds [S]`."""
    grouped: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        grouped[run.network, run.budget][run.entry].append(run)
    truths = {network: Truth.load(file_of(network)) for network in {run.network for run in runs}}
    found: dict[tuple[str, str], dict[str, dict[str, Floats]]] = {}
    for (network, budget), entries in sorted(grouped.items(), key=lambda item: (item[0][0], list(BUDGETS).index(item[0][1]))):
        contest = Contest.of(truths[network], budget)
        found[network, budget] = {
            name: {
                "regret": np.array([regret(contest, run.trials, TRIALS) for run in members]),
                "volume": np.array([hypervolume(contest, run.trials, COUNTS) for run in members]) if name.startswith("front:") else _NONE,
                "seconds": np.array([run.seconds for run in members]),
            }
            for name, members in entries.items()
        }
    return found


def tables(runs: Sequence[Run]) -> tuple[str, dict[str, Any]]:
    """Markdown, and the same numbers to keep: quartiles of regret at every count, hits, hypervolume."""
    found = curves(runs)
    parts, kept = [], {}
    for (network, budget), entries in found.items():
        parts.append(f"\n**{network}, {budget}**: regret (best loss so far over the best within the budget, less one), median\n")
        parts.append(_regrets(entries))
        kept[f"{network}, {budget}"] = {name: _kept(of) for name, of in entries.items()}
    parts.append("\n**Hypervolume**, share of the whole table's, median over seeds, networks and budgets\n")
    parts.append(_volumes(found))
    parts.append("\n**Bars**\n")
    parts.append(_bars(found))
    return "\n".join(parts), kept


def _regrets(entries: Mapping[str, Mapping[str, Floats]]) -> str:
    lines = ["| | seeds | " + " | ".join(map(str, COUNTS)) + " | found by 30 | s |", "|---" * (len(COUNTS) + 4) + "|"]
    for name, of in entries.items():
        if name.startswith("front:"):
            continue
        medians = [_percent(float(np.median(of["regret"][:, count - 1]))) for count in COUNTS]
        hits = float((of["regret"][:, 29] <= _FOUND).mean())
        lines.append(f"| {name} | {len(of['regret'])} | {' | '.join(medians)} | {100 * hits:.0f} % | {np.median(of['seconds']):.1f} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if math.isinf(value) else f"{100 * value:.2f} %"


def _volumes(found: Mapping[tuple[str, str], Mapping[str, Mapping[str, Floats]]]) -> str:
    pooled: dict[str, list[Floats]] = defaultdict(list)
    for entries in found.values():
        for name, of in entries.items():
            if name.startswith("front:"):
                pooled[name.removeprefix("front: ")].append(of["volume"])
    lines = ["| | " + " | ".join(map(str, COUNTS)) + " |", "|---" * (len(COUNTS) + 1) + "|"]
    for name, volumes in pooled.items():
        medians = np.median(np.concatenate(volumes), axis=0)
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in medians)} |")
    return "\n".join(lines)


def _bars(found: Mapping[tuple[str, str], Mapping[str, Mapping[str, Floats]]]) -> str:
    """What issue 4 asks for, cell by cell and over all."""
    lines, hits = [], []
    for (network, budget), entries in found.items():
        if _US not in entries:
            continue
        ours = np.median(entries[_US]["regret"], axis=0)
        hits.append(float((entries[_US]["regret"][:, 29] <= _FOUND).mean()))
        others = {n: np.median(of["regret"], axis=0) for n, of in entries.items() if n != _US and ":" not in n}
        searchers = {n: m for n, m in others.items() if not n.startswith(_ONCE)}
        if not searchers:
            continue
        best_at_30 = min(searchers, key=lambda n: searchers[n][29])
        best = np.min(list(searchers.values()), axis=0)
        once = np.min([m for n, m in others.items() if n.startswith("MILP")] or [np.full(TRIALS, np.inf)], axis=0)
        above, above_once = (np.flatnonzero(ours > line + _FOUND) + 1 for line in (best, once))
        lines.append(
            f"- {network}, {budget}: at 10 trials {_percent(ours[9])}, best other at 30 {_percent(searchers[best_at_30][29])} "
            f"({best_at_30}): "
            f"{'holds' if ours[9] <= searchers[best_at_30][29] + _FOUND else 'MISSED'}; above the best other at {_spans(above)}; "
            f"above the best one-shot MILP at {_spans(above_once)}; optimum within 30 trials in {100 * hits[-1]:.0f} %"
        )
    if hits:
        lines.append(f"- optimum within 30 trials over all: {100 * float(np.mean(hits)):.0f} % (asked: 80 %)")
    return "\n".join(lines)


def _spans(counts: NDArray[np.intp]) -> str:
    """`no count`, or `1-3, 17`."""
    if not len(counts):
        return "no count"
    runs = np.split(counts, np.flatnonzero(np.diff(counts) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _kept(of: Mapping[str, Floats]) -> dict[str, Any]:
    if len(of["volume"]):
        volumes = {str(c): float(f"{v:.4g}") for c, v in zip(COUNTS, np.median(of["volume"], axis=0), strict=True)}
        return {"seeds": len(of["regret"]), "hypervolume": volumes}
    quartiles = np.percentile(np.minimum(of["regret"], 10.0), [25, 50, 75], axis=0)
    return {
        "seeds": len(of["regret"]),
        "regret": [[float(f"{value:.4g}") for value in row] for row in quartiles],
        "found by 30": float((of["regret"][:, 29] <= _FOUND).mean()),
        "seconds": float(np.median(of["seconds"])),
    }
