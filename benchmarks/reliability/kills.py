"""Kill a study by SIGKILL at its writes, repeat the command, and compare with a run that nobody killed.

Every write is a point by name: the moment before and after a file takes its place (`winner.json`, `winner.checkpoint`, …), before a file is
removed, and before a transaction of the database is committed. The points are listed by a first run; then each round kills one run at one
of them, or, with `--random`, after a random time.

python -m benchmarks.reliability.kills --variant plain --rounds 60 --seed 0 --out docs/results/reliability/kills_plain.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.reliability.verdict import write_results

__all__ = ["VARIANTS", "Place", "main"]

NET = """
from torch import nn

def make() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10))
"""
STUDY: dict[str, Any] = {
    "name": "tiny",
    "data": {"source": "digits"},
    "model": {"factory": "tinynet:make"},
    "space": "weights-only",
    "budgets": ["3bit"],
    "signals": {"names": ["fisher", "coverage"], "images": 64},
    "methods": {"lsq": {}},
    "recipe": {"batch_size": 128, "lr": {"low": 0.01, "high": 0.05, "log": True}, "reestimate": 128, "precision": "float32"},
    "float_recipe": {"epochs": 2, "batch_size": 128, "lr": 0.1, "precision": "float32"},
    "search": {"trials": 4, "rungs": [{"name": "ptq", "epochs": 0}, {"name": "short", "epochs": 1, "keep": 0.5}]},
    "retrain": {"epochs": 2, "control": True},
    "compile": "off",
    "device": "cpu",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "timeout": {"search": {**STUDY["search"], "timeout": "1h"}},
    "mix": {"signals": {"names": ["fisher", "coverage", "mix"], "images": 64, "mixed_on": 24}},
    "supernet": {"search": {"trials": 4, "evaluate": "supernet", "supernet": {"epochs": 1, "draws": 1, "images": 64}}},
    "learned": {"signals": {"names": ["fisher", "alq"], "images": 64}},
}
"""What differs from STUDY."""
ROOT = Path(__file__).parents[2]


def child(point: int, arguments: Sequence[str]) -> int:
    """Run the command line in this process, and kill it at a point; −1 runs to the end. Names of points go to `points.txt`."""
    import sqlalchemy

    from mpsearch.cli import main as command

    count = 0
    log = Path("points.txt").open("w", encoding="utf-8")  # noqa: SIM115 - open until the process is killed

    def reached(name: str) -> None:
        nonlocal count
        log.write(name + "\n")
        log.flush()
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    replace, unlink = Path.replace, Path.unlink

    def replaced(self: Path, target: Path) -> Path:
        reached(f"before {target.name}")
        done = replace(self, target)
        reached(f"after {target.name}")
        return done

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        if self.exists():
            reached(f"before removing {self.name}")
        unlink(self, missing_ok=missing_ok)

    Path.replace, Path.unlink = replaced, unlinked  # type: ignore[method-assign,assignment]
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", lambda connection: reached("before a commit"))
    return command(arguments)


class Place:
    """A folder with the study, where its command runs with a cache of its own."""

    def __init__(self, folder: Path, variant: str) -> None:
        self.folder = folder
        (folder / "tinynet.py").write_text(NET, encoding="utf-8")
        (folder / "tiny.yaml").write_text(json.dumps({**STUDY, **VARIANTS[variant]}), encoding="utf-8")  # JSON is YAML

    def start(self, point: int) -> subprocess.Popen[str]:
        """Start the command, to be killed at a point; −1 for none."""
        command = [sys.executable, "-m", "benchmarks.reliability.kills", "--child", str(point)]
        own = {"MPSEARCH_CACHE": str(self.folder / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, point: int = -1, after: float | None = None) -> tuple[int, str]:
        """Run the command; (exit code, output)."""
        process = self.start(point)
        if after is not None:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.kill()
        output, _ = process.communicate(timeout=600)
        return process.returncode, output

    def outcome(self) -> Any:
        """Trials, model bytes and summary, clock aside."""
        run = self.folder / "run"
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        for record in (*summary["trials"], summary["winner"], summary["uniform"], summary["control"]):
            if record is not None:
                del record["seconds"]
        for record in summary["trials"]:
            del record["number"]  # a trial that was killed had one
        for table in summary["tables"]:
            del table["cost"]["seconds"]
        for name in ("seconds", "delivered", "command", "digest"):  # the card counts passes and seconds
            del summary[name]
        number = summary["winner"].pop("number")
        return summary, number >= 0, (run / "model.safetensors").read_bytes(), (run / "bits.yaml").read_text(encoding="utf-8")


def rounds(variant: str, count: int, seed: int, at_random: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill `count` runs of a variant."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as root:
        whole = Place(Path(root), variant)
        started = time.monotonic()
        code, output = whole.run()
        took = time.monotonic() - started
        if code:
            raise SystemExit(f"the run that nobody kills ends with {code}: {output}")
        expected, points = whole.outcome(), (Path(root) / "points.txt").read_text(encoding="utf-8").splitlines()
    chosen = [random.uniform(0.5, took) for _ in range(count)] if at_random else random.sample(range(len(points)), min(count, len(points)))
    same, differ = 0, []
    for number, point in enumerate(sorted(chosen)):
        name = f"after {point:.1f} s" if at_random else points[int(point)]
        with tempfile.TemporaryDirectory() as root:
            place = Place(Path(root), variant)
            place.run(*(-1, float(point)) if at_random else (int(point), None))
            code, output = place.run()
            if code == 0 and place.outcome() == expected:
                same += 1
            else:
                differ.append({"point": name, "code": code, "output": output[-1500:]})
        say(f"{number + 1} of {len(chosen)}: {name}: {'same' if len(differ) + same == number + 1 and not differ else len(differ)}")
    return {
        "variant": variant,
        "points": len(points),
        "rounds": len(chosen),
        "same": same,
        "seed": seed,
        "random": at_random,
        "differ": differ,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=list(VARIANTS), default="plain")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="kill after random times instead of at writes")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        return child(asked.child, ["study", "tiny.yaml", "--run-dir", "run", "--quiet"])
    found = rounds(asked.variant, asked.rounds, asked.seed, asked.random, lambda line: print(line, file=sys.stderr))
    return write_results({"what": "kills", **found}, asked.out)


if __name__ == "__main__":
    sys.exit(main())
