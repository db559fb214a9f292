"""Damage every file of a run in five ways, repeat the command, and compare with the run that nobody damaged.

Each file of a finished run, and of one that was interrupted before its summary, is emptied, cut in half, overwritten with junk, changed in
one bit, or removed. `bits.yaml` may differ in a finished run: it is there to be edited.

python -m benchmarks.reliability.damage --out docs/results/reliability/damage.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.reliability.place import Place
from benchmarks.reliability.verdict import write_results
from mpsearch.cli import main as command

__all__ = ["KINDS", "damage"]

KINDS = ("empty", "half", "junk", "bit", "gone")


def damage(file: Path, kind: str) -> None:
    """Damage a file in place."""
    data = file.read_bytes()
    middle = len(data) // 2
    if kind == "gone":
        file.unlink()
        return
    changed = {
        "empty": b"",
        "half": data[:middle],
        "junk": bytes(range(256)) * (len(data) // 256 + 1),
        "bit": data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :],
    }
    file.write_bytes(changed[kind])


def repeated() -> str:
    """Run the command in the working directory; "" or what went wrong."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = command(["study", "tiny.yaml", "--run-dir", "run", "--quiet"])
        except Exception:
            return traceback.format_exc()[-1500:]
    return "" if code == 0 else f"exit code {code}: {said.getvalue()[-500:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    out = None if out is None else out.resolve()
    same, differ = 0, []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPSEARCH_CACHE"] = str(Path(folder) / "cache")
        place = Place(Path(folder), "plain")
        os.chdir(folder)
        if wrong := repeated():
            raise SystemExit(wrong)
        expected, run, kept = place.outcome(), Path("run"), Path("kept")
        shutil.copytree(run, kept)
        for finished in (True, False):
            for name in sorted(file.name for file in kept.iterdir() if file.is_file() and file.stat().st_size):
                for kind in KINDS:
                    shutil.rmtree(run)
                    shutil.copytree(kept, run)
                    if not finished:
                        (run / "summary.json").unlink()
                        if name == "summary.json":
                            continue
                    damage(run / name, kind)
                    wrong = repeated()
                    if not wrong and name != "bits.yaml" and place.outcome() != expected:
                        wrong = "another outcome"
                    same += not wrong
                    if wrong:
                        differ.append({"finished": finished, "file": name, "kind": kind, "wrong": wrong})
                print(f"{'finished' if finished else 'interrupted'}: {name}; {len(differ)} differ", file=sys.stderr)
        os.chdir("/")
    return write_results({"what": "damaged files", "rounds": same + len(differ), "same": same, "differ": differ}, out)


if __name__ == "__main__":
    sys.exit(main())
