"""Tables of `methods_table.py`: methods by bits, mean ± spread over seeds; and what they gain over `ste` at the same seeds ± its error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from results_file import Row

from mpsearch.core.number_format import FLOAT_BITS

__all__ = ["TITLES", "compare", "mean_and_spread", "mean_gain", "write_between_markers"]

TITLES = {
    "digits": "Digits, ResNet-18",
    "cifar": "CIFAR-10 (JPEG folders), ResNet-20",
}
_REFERENCE = "ste"


def compare(rows: Sequence[Row]) -> str:
    """Markdown: a table for every task and number of activation bits, and one for scores before training."""
    done = [row for row in rows if row["status"] == "done"]
    parts: list[str] = []
    for task in dict.fromkeys(row["task"] for row in done):
        for act in sorted({row["act_bits"] for row in done if row["task"] == task}, reverse=True):
            members = [row for row in done if (row["task"], row["act_bits"]) == (task, act)]
            parts.append(f"**{_title(task, act, members)}**\n\n{_grid(members)}")
    before = [row for row in done if "test" in row["calibrated"]]
    if any(row["method"] != _REFERENCE for row in before):
        parts.append(f"**Before training** (calibration and BatchNorm alone)\n\n{_before(before)}")
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        parts.append("Failed: " + "; ".join(f"{_name(row)}, seed {row['seed']}: {row['reason']}" for row in failed))
    return "\n\n".join(parts)


def mean_and_spread(values: Sequence[float]) -> str:
    """`97.92 ± 0.13` in percent, the sample's standard deviation; one value alone without spread."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


def write_between_markers(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        SystemExit: the page does not have both markers, once each.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    content = page.read_text()
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise SystemExit(f"{page} needs the markers {begin} and {end}, once each and in this order; put them where the table belongs")
    before, after = content.split(begin)[0], content.split(end)[1]
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _title(task: str, act: int, rows: Sequence[Row]) -> str:
    floats = {row["seed"]: row["float"] for row in rows}
    epochs = "/".join(map(str, sorted({row["epochs"] for row in rows})))
    activations = "activations float" if act == FLOAT_BITS else f"activations at {act} bits"
    return f"{TITLES.get(task, task)}, {activations}, {epochs} epochs; float {mean_and_spread(list(floats.values()))}"


def _grid(rows: Sequence[Row]) -> str:
    """Methods down, weight bits across."""
    bits = sorted({row["weight_bits"] for row in rows})
    scores = {
        (method, b): {row["seed"]: row["metric"] for row in rows if (row["method"], row["weight_bits"]) == (method, b)}
        for method in {row["method"] for row in rows}
        for b in bits
    }
    methods = sorted({method for method, _ in scores}, key=lambda method: (method != _REFERENCE, method))
    lines = ["| method | " + " | ".join(f"w{b} | to {_REFERENCE}" for b in bits) + " | seeds |", "|---" * (2 * len(bits) + 2) + "|"]
    for method in methods:
        cells = [text for b in bits for text in _pair(scores[method, b], scores.get((_REFERENCE, b), {}), method)]
        counts = sorted({len(scores[method, b]) for b in bits} - {0})
        lines.append(f"| `{method}` | " + " | ".join(cells) + f" | {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} |")
    return "\n".join(lines)


def _pair(mine: dict[int, float], reference: dict[int, float], method: str) -> tuple[str, str]:
    """Score, and difference over the seeds that both have."""
    if not mine:
        return "-", ""
    shared = mine.keys() & reference.keys()
    if method == _REFERENCE or not shared:
        return mean_and_spread(list(mine.values())), ""
    return mean_and_spread(list(mine.values())), mean_gain([mine[seed] - reference[seed] for seed in shared])


def mean_gain(differences: Sequence[float]) -> str:
    """`+0.45 ± 0.34` points: the mean difference at the same seed, and its standard error; of one seed without."""
    mean = f"{round(100 * statistics.mean(differences), 2) + 0.0:+.2f}"  # no minus before a zero
    return mean if len(differences) == 1 else f"{mean} ± {100 * statistics.stdev(differences) / math.sqrt(len(differences)):.2f}"


def _before(rows: Sequence[Row]) -> str:
    methods = sorted({row["method"] for row in rows}, key=lambda method: (method != _REFERENCE, method))
    columns = sorted({_column(row) for row in rows}, key=lambda c: (c[0], -c[1], c[2]))
    names = [f"{task} w{weight}a{'f' if act == FLOAT_BITS else act}" for task, act, weight in columns]
    lines = ["| method | " + " | ".join(names) + " |", "|---" * (len(columns) + 1) + "|"]
    for method in methods:
        cells = []
        for column in columns:
            values = [row["calibrated"]["test"] for row in rows if (row["method"], *_column(row)) == (method, *column)]
            cells.append(mean_and_spread(values) if values else "-")
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _column(row: Row) -> tuple[str, int, int]:
    return row["task"], row["act_bits"], row["weight_bits"]


def _name(row: Row) -> str:
    act = "f" if row["act_bits"] == FLOAT_BITS else row["act_bits"]
    return f"{row['task']} {row['method']} w{row['weight_bits']}a{act}"
