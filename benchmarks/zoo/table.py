"""The zoo's table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from results_file import Row, latest

from benchmarks.zoo.measure import KEY
from benchmarks.zoo.networks import NETWORKS

__all__ = ["loss", "table"]

_HEADER = (
    "network, metric",
    "float",
    "share of its bytes",
    "calibrated",
    "best uniform, calibrated",
    "trained briefly",
    "best uniform, trained",
    "stays float",
)


def loss(row: Row, value: float) -> float | None:
    """What was lost of the float network's metric, as a share of it; negative where it became better.

    None of a distance, of which float has none; of a share that is right, what part of it is gone; of an error, by what part it grew.
    """
    if row["gap"] == "distance":
        return None
    whole = float(row["float"])
    return (whole - value) / whole if row["gap"] == "share" else (value - whole) / whole


def table(rows: Sequence[Row]) -> str:
    """A line for every network and share, then other small versions, and what was refused and why."""
    done = latest((row for row in rows if row["status"] in ("done", "refused")), KEY)
    lines = [f"| {' | '.join(_HEADER)} |", "|---" * len(_HEADER) + "|"]
    for name, network in NETWORKS.items():
        for share in sorted({row["share"] for row in done if row["network"] == name}, reverse=True):
            pair = {row["trained"]: row for row in done if (row["network"], row["share"]) == (name, share)}
            lines.append(_line(network.title, share, pair.get(False), pair.get(True)))
    parts = ["\n".join(lines)]
    for row in rows:
        if row["status"] == "rival":
            parts.append(f"{NETWORKS[row['network']].title}, {row['name']}: {row['found']:.4g} in {row['bytes']:,} B.")
    for row in done:
        if row["status"] == "refused":
            parts.append(f"{NETWORKS[row['network']].title} at {row['share']:.0%}{', trained' * row['trained']}: refused: {row['reason']}")
    return "\n\n".join(parts)


def _line(title: str, share: float, calibrated: Row | None, trained: Row | None) -> str:
    told = [row for row in (calibrated, trained) if row is not None and row["status"] == "done"]
    if not told:
        return f"| {title} | | {share:.0%} | refused | | | | |"
    first = told[0]
    cells = [f"{title}, {first['metric']}", f"{first['float']:.4g}", f"{share:.0%} of {first['float_bytes']:,} B"]
    for row in (calibrated, trained):
        cells += ["-", "-"] if row is None or row["status"] != "done" else [_found(row), _uniform(row)]
    kept = sum(group["bytes"] for group in first["unquantized"])
    return "| " + " | ".join([*cells, f"{kept:,} B, {kept / first['bytes']:.1%}"]) + " |"


def _found(row: Row) -> str:
    lost = loss(row, row["found"])
    return f"**{row['found']:.4g}**{'' if lost is None else f' ({100 * lost:+.2f} % lost)'}, {row['bytes']:,} B"


def _uniform(row: Row) -> str:
    return "none fits" if row["uniform"] is None else f"{row['uniform']:.4g} ({row['uniform_bits']}, {row['uniform_bytes']:,} B)"
