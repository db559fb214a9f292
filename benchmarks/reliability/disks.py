"""Run a study on disks that are too small, then make room and repeat the command; Linux, as root, since each disk is a tmpfs of its own.

A run that does not fit must end with one line and exit code 2, and the same command must then end as on a large disk.

python -m benchmarks.reliability.disks --disks 40 --out docs/results/reliability/disks.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.reliability.kills import Place
from benchmarks.reliability.verdict import write_results

__all__ = ["main"]


def mount(folder: Path, size: int, *, again: bool = False) -> None:
    """Mount a tmpfs of `size` bytes, or change the size of one."""
    options = f"{'remount,' if again else ''}size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", type=int, default=40, help="sizes between 8 KiB and what a run takes, evenly spaced")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    same, full, differ = 0, 0, []
    with tempfile.TemporaryDirectory() as root:
        whole = Place(Path(root), "plain")
        code, output = whole.run()
        if code:
            raise SystemExit(output)
        expected = whole.outcome()
        needed = 2 * sum(file.stat().st_size for file in (whole.folder / "run").iterdir())
        for number in range(asked.disks):
            size = 8192 + number * (needed - 8192) // max(1, asked.disks - 1)
            with tempfile.TemporaryDirectory() as folder:
                place = Place(Path(folder), "plain")
                (place.folder / "run").mkdir()
                mount(place.folder / "run", size)
                try:
                    code, output = place.run()
                    full += code == 2
                    lines = [line for line in output.splitlines() if line.startswith("mpsearch: error: ")]
                    wrong = "" if code == 0 or (code == 2 and len(lines) == 1 and "Traceback" not in output) else output[-1500:]
                    mount(place.folder / "run", 4 * needed, again=True)
                    code, output = place.run()
                    if not wrong and (code or place.outcome() != expected):
                        wrong = f"after making room: {output[-1500:]}"
                finally:
                    subprocess.run(["umount", str(place.folder / "run")], check=True)
            same += not wrong
            if wrong:
                differ.append({"bytes": size, "wrong": wrong})
            print(f"{number + 1} of {asked.disks}: {size:,} B; {full} were full, {len(differ)} differ", file=sys.stderr)
    return write_results({"what": "full disks", "rounds": asked.disks, "full": full, "same": same, "differ": differ}, asked.out)


if __name__ == "__main__":
    sys.exit(main())
