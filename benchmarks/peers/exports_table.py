"""The rows of `exports.py` as a Markdown table.

PYTHONPATH=benchmarks python benchmarks/peers/exports_table.py docs/results/peers/exports.jsonl [--write docs/peers.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from methods_markdown import write_between_markers
from results_file import Row, latest, read

__all__ = ["KEY", "table"]

KEY = ("tool", "allocation", "format")
_TOOLS = ("mpsearch", "mct", "modelopt", "aimet", "brevitas")
_ALLOCATIONS = ("w4", "w2", "mixed")
_HEADS = (
    "tool",
    "allocation",
    "exports",
    "bytes",
    "times the weights",
    "in the tool",
    "in ONNX Runtime",
    "answers that differ",
    "median",
)


def table(rows: list[Row]) -> str:
    """Markdown: a line for every tool, allocation and format."""
    lines = ["| " + " | ".join(_HEADS) + " |", "|---" * len(_HEADS) + "|"]
    chosen = [row for row in latest(rows, KEY) if row["tool"] in _TOOLS]
    for row in sorted(chosen, key=lambda row: (_rank(_TOOLS, row["tool"]), _rank(_ALLOCATIONS, row["allocation"]), row["format"])):
        cells = [row["tool"], row["allocation"], row["format"], *_size(row), _percent(row.get("reported")), *_runtime(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rank(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _size(row: Row) -> tuple[str, str]:
    """Bytes of all files, and how many times the bytes of the weights alone that is."""
    if "bytes" not in row:
        return "-", "-"
    return f"{row['bytes']:,}", f"{row['bytes'] / row['weight_bytes']:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _runtime(row: Row) -> tuple[str, str, str]:
    """Top-1 there, answers that are others than the tool's, the median difference of logits; or why there are none."""
    if "error" in row:
        return f"not exported: {_cell(row['error'])}", "-", "-"
    if "refused" in row:
        said = f"does not load: {_cell(row['refused'])}"
        if "own" not in row:
            return said, "-", "-"
        return f"{said}; in the tool's own runtime {_percent(row['own'])}", _differ(row), f"{row['median']:.0e}"
    return _percent(row["runtime"]), _differ(row), f"{row['median']:.0e}"


def _differ(row: Row) -> str:
    return f"{row['differ']} of {row['samples']:,}"


def _cell(text: str) -> str:
    """Text that a cell can hold."""
    return text.replace("|", "\\|")


def main() -> None:
    """Print the table, and write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    asked = parser.parse_args()
    text = table(read(asked.rows))
    print(text)
    if asked.write:
        write_between_markers(asked.write, "exports", text)


if __name__ == "__main__":
    main()
