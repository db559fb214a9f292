"""Table of `learned_bits.py`: where bits came from, and what the network reached with them at the same file size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from methods_markdown import TITLES, mean_and_spread, mean_gain
from results_file import Row

from mpsearch.core.allocation import Allocation

__all__ = ["compare"]


def compare(rows: Sequence[Row]) -> str:
    """Markdown, a table for every task and size."""
    done = [row for row in rows if row["status"] == "done"]
    parts = []
    for task, bits in sorted({(row["task"], row["bits"]) for row in done}, key=lambda pair: (pair[0] != "digits", -pair[1])):
        members = [row for row in done if (row["task"], row["bits"]) == (task, bits)]
        parts.append(f"**{_title(task, bits, members)}**\n\n{_grid(members)}")
    failed = [f"{r['task']} {r['origin']} at {r['bits']} bits, seed {r['seed']}: {r['reason']}" for r in rows if r["status"] == "failed"]
    return "\n\n".join([*parts, *(["Failed: " + "; ".join(failed)] if failed else [])])


def _title(task: str, bits: int, rows: Sequence[Row]) -> str:
    floats = {row["seed"]: row["float"] for row in rows if row["stage"] == "train"}
    reference = f"; float {mean_and_spread(list(floats.values()))}" if floats else ""
    limit = max(row["budget"] for row in rows if row["stage"] == "find")
    return f"{TITLES.get(task, task)}, {limit:,.0f} B, the file of uniform {bits} bits{reference}"


def _grid(rows: Sequence[Row]) -> str:
    lines = ["| bits from | mean as learned | bits of a layer | file | test | to uniform | search |", "|---|---|---|---|---|---|---|"]
    scores = {
        origin: {row["seed"]: row for row in rows if row["stage"] == "train" and row["origin"] == origin}
        for origin in dict.fromkeys(row["origin"] for row in rows)
    }
    for origin, trained in scores.items():
        found = [row for row in rows if row["stage"] == "find" and row["origin"] == origin]
        learned = [row["learned"]["mean"] for row in found if "learned" in row]
        widths = [choice.weight.bits for row in found for choice in Allocation.from_dict(row["allocation"]).values()]
        shared = trained.keys() & scores.get("uniform", {}).keys() if origin != "uniform" else set()
        gains = [trained[seed]["metric"] - scores["uniform"][seed]["metric"] for seed in sorted(shared)]
        cells = [
            f"`{origin}`" if learned else origin,
            f"{statistics.mean(learned):.2f}" if learned else "",
            f"{min(widths)} to {max(widths)}" if min(widths) < max(widths) else str(min(widths)),
            f"{max(row['size_bytes'] for row in trained.values()):,} B" if trained else "",
            mean_and_spread([row["metric"] for row in trained.values()]) if trained else "",
            mean_gain(gains) if gains else "",
            f"{statistics.mean(row['search_seconds'] for row in found):.0f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
