"""The comparison's rows as a Markdown table, and as a picture: test error against mean bits, activations at 8 bits.

python benchmarks/peers/table.py docs/results/peers --picture docs/peers.svg
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from mpsearch.report import palette

Row = dict[str, Any]
ORDER = ("mpsearch", "mct", "modelopt", "aimet")
LINES = {
    # label → (colour, dash, legend); a line of the picture
    "mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | gptq | 8": (palette.ACCENT, "", "mpsearch (gptq)"),
    "mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | lsq | 8": (palette.ACCENT, "2 5", "its bits, plain rounding"),
    "mct {2, 4, 8} | its own | 8": (palette.UNIFORM, "", "MCT"),
    "mct {2, 4, 8} | gptq | 8": (palette.UNIFORM, "2 5", "MCT's bits, our gptq"),
    "modelopt {2, 3, 4, 5, 6, 8} | its own | 8": (palette.FLOAT, "", "ModelOpt"),
    "modelopt {2, 3, 4, 5, 6, 8} | gptq | 8": (palette.FLOAT, "2 5", "ModelOpt's bits, our gptq"),
}
TICKS = (0.89, 0.87, 0.85, 0.8, 0.7, 0.5, 0.2)
FLOAT_ACCURACY = 0.893
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 860, 440, 84, 60, 100, 24


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


def picture(rows: list[Row]) -> str:
    """SVG; the error on a logarithmic scale, so that what is near the float network and what is lost can both be seen."""
    kept = {name: line for name, line in lines(rows).items() if name in LINES}
    found = {name: {bits: statistics.mean(metrics) for bits, metrics in line.items()} for name, line in kept.items()}
    sizes = [bits for line in found.values() for bits in line]
    left, right = min(sizes) - 0.1, max(sizes) + 0.1
    low, high = math.log(1 - 0.9), math.log(1 - min(metric for line in found.values() for metric in line.values())) + 0.05

    def x(bits: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (bits - left) / (right - left)

    def y(metric: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (math.log(1 - metric) - low) / (high - low)

    def words(at_x: float, at_y: float, text: str, anchor: str = "start", colour: str = palette.INK) -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" font-size="13" fill="{colour}">{text}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="{palette.FONT.replace(chr(34), "")}"><rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="{palette.PAPER}"/>',
        words(_LEFT, 30, "CIFAR-10, ResNet-20, without training: test accuracy (scale: log of the error) against mean weight bits"),
    ]
    for value in TICKS:
        if math.log(1 - value) < high:
            parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="{palette.GRID}"/>')
            parts.append(words(_LEFT - 8, y(value) + 4, f"{100 * value:.0f} %", "end"))
    parts += [words(x(bits), _HEIGHT - _BOTTOM + 20, f"{bits:g}", "middle") for bits in sorted(set(sizes))]
    parts.append(f'<path d="M{_LEFT} {y(FLOAT_ACCURACY):.1f}H{_WIDTH - _RIGHT}" stroke="{palette.MUTED}" stroke-dasharray="7 5"/>')
    parts.append(words(_LEFT, y(FLOAT_ACCURACY) - 8, f"float {100 * FLOAT_ACCURACY:.2f} %", colour=palette.MUTED))
    for index, (name, (colour, dash, legend)) in enumerate(LINES.items()):
        points = sorted(found.get(name, {}).items())
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        fill = palette.PAPER if dash else colour
        path = "M" + "L".join(f"{x(bits):.1f} {y(metric):.1f}" for bits, metric in points)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>' if points else "")
        for bits, metric in points:
            parts.append(f'<circle cx="{x(bits):.1f}" cy="{y(metric):.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>')
        at_x, at_y = _LEFT + 250 * (index // 2), _HEIGHT - 48 + 24 * (index % 2)
        parts.append(f'<path d="M{at_x} {at_y}h28" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<circle cx="{at_x + 14}" cy="{at_y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>')
        parts.append(words(at_x + 36, at_y + 4, legend))
    return "".join(parts) + "</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picture", type=Path, help="write an SVG")
    asked = parser.parse_args()
    rows = read(asked.folder)
    print(table(rows))
    if asked.picture:
        asked.picture.write_text(picture(rows))


if __name__ == "__main__":
    main()
