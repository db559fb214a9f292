"""The comparison's rows as a Markdown table: test accuracy by who chose the bits, who calibrated them, and mean bits.

python benchmarks/peers/table.py docs/results/peers
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ORDER = ("mpsearch", "mct", "modelopt", "aimet")


def read(folder: Path) -> list[Row]:
    """All rows of a folder's files, further draws of images among them, ours first and what was measured earlier last."""
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("seed*/*.json"))]
    rows = [row for file in files for row in json.loads(file.read_text())]
    return sorted(rows, key=lambda row: (row["act_bits"], *_rank(row)))


def _rank(row: Row) -> tuple[int, int]:
    return (ORDER.index(row["source"]) if row["source"] in ORDER else len(ORDER)), "method" not in row


def label(row: Row) -> str:
    """Bits chosen by | calibrated by | activations."""
    menu = "" if row.get("menu") is None else " {" + ", ".join(map(str, row["menu"])) + "}"
    settings = "".join(f", {name} {value}" for name, value in row.get("settings", {}).items())
    trained = f", then {row['epochs']} epochs of {row['train_images']:,} images" if row.get("epochs") else ""
    activations = "float" if row["act_bits"] == 32 else str(row["act_bits"])
    return f"{row['source']}{menu} | {row.get('method', 'its own')}{settings}{trained} | {activations}"


def lines(rows: list[Row]) -> dict[str, dict[float, list[float]]]:
    """Label → mean bits → test accuracy, one a draw of images."""
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        found.setdefault(label(row), {}).setdefault(float(row["asked_bits"]), []).append(row["test"])
    return found


def cell(metrics: list[float]) -> str:
    """Percent; of several their mean and standard deviation."""
    mean = f"{100 * statistics.mean(metrics):.2f}"
    return mean if len(metrics) == 1 else f"{mean} ± {100 * statistics.stdev(metrics):.2f}"


def table(rows: list[Row]) -> str:
    """Markdown: a line for each source, menu and calibration; a column for each mean number of bits."""
    found = lines(rows)
    columns = sorted({bits for line in found.values() for bits in line}, reverse=True)
    head = [
        "| bits chosen by | calibrated by | activations | " + " | ".join(f"{bits:g}" for bits in columns) + " |",
        "|---" * (3 + len(columns)) + "|",
    ]
    body = [
        f"| {name} | " + " | ".join(cell(line[bits]) if bits in line else "-" for bits in columns) + " |" for name, line in found.items()
    ]
    return "\n".join([*head, *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    print(table(read(asked.folder)))


if __name__ == "__main__":
    main()
