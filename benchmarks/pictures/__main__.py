"""Draw the pictures of README and docs/ again from committed results.

python -m benchmarks.pictures                # all of them
python -m benchmarks.pictures size peers     # some
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.pictures import front, peers, size, tabular
from mpsearch.report.picture_style import save, styled

__all__ = ["PICTURES", "main"]

DOCS = Path(__file__).parents[2] / "docs"

PICTURES: dict[str, tuple[Callable[[], Figure], str]] = {
    "front": (front.draw, "Validation accuracy against file size for every trial of one run"),
    "size": (size.draw, "Test accuracy against file size, CIFAR-10, ResNet-20"),
    "tabular": (tabular.draw, "Regret against trials on four tables and three budgets"),
    "peers": (peers.draw, "Test accuracy against mean weight bits, mpsearch beside MCT and ModelOpt"),
}
"""Name of the file in docs/ → what draws it, and its description."""


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(PICTURES)}; default: all")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder; default: docs/")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - PICTURES.keys()):
        parser.error(f"no picture is called {', '.join(unknown)}; there are {', '.join(PICTURES)}")
    for name in arguments.names or PICTURES:
        draw, description = PICTURES[name]
        with styled():
            save(draw(), arguments.out / f"{name}.svg", description)
        print(arguments.out / f"{name}.svg")


if __name__ == "__main__":
    main()
