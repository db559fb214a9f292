"""Fill the disk at every write of a study, then make room and repeat the command; Linux, as root, since each disk is a tmpfs of its own.

At one point after the other the disk is filled to its last byte, so that what is written next does not fit. The run must end with one line
and exit code 2, or need no more room, and the same command must then end as on a large disk. `--sizes` tries disks that are too small from
the start instead.

python -m benchmarks.reliability.disks --rounds 250 --out docs/results/reliability/disks.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.reliability.place import Place
from benchmarks.reliability.points import at_writes, named
from benchmarks.reliability.verdict import write_results

__all__ = ["main"]

LARGE = 32 * 2**20
FILLER = "filler.bin"


def mount(folder: Path, size: int, *, again: bool = False) -> None:
    """Mount a tmpfs of `size` bytes, or change the size of one."""
    options = f"{'remount,' if again else ''}size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def filled_at(point: int) -> Callable[[], None]:
    """Fill the disk of the working directory at a point."""

    def reached(number: int, name: str) -> None:
        if number != point:
            return
        with Path(FILLER).open("wb", buffering=0) as filler:
            for piece in (2**20, 4096, 1):
                try:
                    while filler.write(bytes(piece)) == piece:
                        pass
                except OSError:  # the end of the disk, by this piece
                    continue

    return lambda: at_writes(reached)


def round_of(size: int, prepare: Callable[[], None] | None, expected: Any) -> tuple[bool, str]:
    """A run on a disk of this size, then with more room; (was it full, "" or what is wrong)."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "disk"
        folder.mkdir()
        mount(folder, LARGE if prepare else size)
        try:
            place = Place(folder, "plain")
            if prepare is None:
                (folder / "run").mkdir()
                mount(folder / "run", size)
            return _tried(place, prepare, expected)
        finally:
            if prepare is None:
                subprocess.run(["umount", str(folder / "run")], check=True)
            subprocess.run(["umount", str(folder)], check=True)


def _tried(place: Place, prepare: Callable[[], None] | None, expected: Any) -> tuple[bool, str]:
    code, output = place.run(prepare)
    if prepare is None:
        mount(place.folder / "run", LARGE, again=True)
    (place.folder / FILLER).unlink(missing_ok=True)
    lines = [line for line in output.splitlines() if line.startswith("mpsearch: error: ")]
    if not (code == 0 or (code == 2 and len(lines) == 1 and "Traceback" not in output)):
        return code == 2, f"exit code {code}: {output[-1500:]}"
    again, output = place.run()
    if again:
        return code == 2, f"after making room, exit code {again}: {output[-1500:]}"
    return code == 2, "" if place.outcome() == expected else f"after making room, another outcome: {output[-1500:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="points, drawn at random, or sizes, evenly spaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", action="store_true", help="disks between 8 KiB and twice a run")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        whole, points = Place(Path(root), "plain"), Path(root) / "points.txt"
        expected, _ = whole.undisturbed(named(points))
        names = points.read_text(encoding="utf-8").splitlines()
        needed = 2 * sum(file.stat().st_size for file in (whole.folder / "run").iterdir())
    chosen: list[tuple[str, int, Callable[[], None] | None]]
    if asked.sizes:
        sizes = [8192 + number * (needed - 8192) // max(1, asked.rounds - 1) for number in range(asked.rounds)]
        chosen = [(f"{size:,} B", size, None) for size in sizes]
    else:
        drawn = sorted(Random(asked.seed).sample(range(len(names)), min(asked.rounds, len(names))))
        chosen = [(names[point], LARGE, filled_at(point)) for point in drawn]
    full, differ = 0, []
    for number, (name, size, prepare) in enumerate(chosen):
        was_full, wrong = round_of(size, prepare, expected)
        full += was_full
        if wrong:
            differ.append({"disk": name, "wrong": wrong})
        print(f"{number + 1} of {len(chosen)}: {name}; {full} were full, {len(differ)} differ", file=sys.stderr)
    found = {"what": "full disks", "points": 0 if asked.sizes else len(names), "seed": asked.seed, "rounds": len(chosen), "full": full}
    return write_results({**found, "same": len(chosen) - len(differ), "differ": differ}, asked.out)


if __name__ == "__main__":
    sys.exit(main())
