"""Kill a study by SIGKILL at its writes, repeat the command, and compare with a run that nobody killed.

The points are listed by a first run; then each round kills one run at one of them or, with `--random`, after a random time. A study that
ends by its timeout (variant `ended`) has as many trials as the clock allows. It is compared with a run that finds the same trials in the
database and nothing else, and one that was killed after its search had ended must have no trial more.

python -m benchmarks.reliability.kills --variant plain --rounds 210 --seed 0 --out docs/results/reliability/kills_plain.json
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import optuna

from benchmarks.reliability.place import VARIANTS, Place
from benchmarks.reliability.points import killed_at, named
from benchmarks.reliability.verdict import write_results

__all__ = ["main", "rounds"]

OF_THE_STUDY = ("study.db", "study.yaml", "run.json", "identity.json", "seconds.json", "passes.json", "prepared.json")
"""Files of a run directory that stand before retraining."""


def trials(place: Place) -> int:
    """Finished trials in the run's database; 0 without one."""
    database = place.folder / "run" / "study.db"
    if not database.exists():
        return 0
    storage = f"sqlite:///{database}"
    names = optuna.get_all_study_names(storage)
    return sum(each.state.is_finished() for each in optuna.load_study(study_name=names[0], storage=storage).trials) if names else 0


def handed_over_again(place: Place, folder: Path) -> Any:
    """The outcome of a run that starts with the trials of another one and nothing made from them."""
    other = Place(folder, "ended")
    shutil.copytree(place.folder / "cache", folder / "cache")
    (folder / "run").mkdir()
    for name in OF_THE_STUDY:
        if (place.folder / "run" / name).exists():
            shutil.copy2(place.folder / "run" / name, folder / "run" / name)
    code, output = other.run()
    return other.outcome() if code == 0 else output


def round_of(variant: str, expected: Any, prepare: Callable[[], None] | None, after: float | None) -> str:
    """One kill and the same command again; "" or what is wrong."""
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as second:
        place = Place(Path(root), variant)
        place.run(prepare, after)
        retraining = any((place.folder / "run").glob("winner.*"))
        before = trials(place) if retraining else 0
        code, output = place.run()
        if code:
            return f"exit code {code}: {output[-1500:]}"
        if variant == "ended":
            if retraining and trials(place) != before:
                return f"{before} trials when the study had ended, {trials(place)} now"
            expected = handed_over_again(place, Path(second))
        return "" if place.outcome() == expected else f"another outcome: {output[-1500:]}"


def rounds(variant: str, count: int, seed: int, at_random: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill `count` runs of a variant."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as root:
        whole, points = Place(Path(root), variant), Path(root) / "points.txt"
        expected, _ = whole.undisturbed(named(points))
        names = points.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as root:  # what a run takes once its modules are there
        _, took = Place(Path(root), variant).undisturbed()
    chosen = [random.uniform(0, took) for _ in range(count)] if at_random else random.sample(range(len(names)), min(count, len(names)))
    differ = []
    for number, point in enumerate(sorted(chosen)):
        name = f"after {point:.1f} s" if at_random else names[int(point)]
        wrong = round_of(variant, expected, *(None, float(point)) if at_random else (killed_at(int(point)), None))
        if wrong:
            differ.append({"point": name, "wrong": wrong})
        say(f"{number + 1} of {len(chosen)}: {name}; {len(differ)} differ")
    return {
        "variant": variant,
        "points": len(names),
        "rounds": len(chosen),
        "same": len(chosen) - len(differ),
        "seed": seed,
        "random": at_random,
        "differ": differ,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=list(VARIANTS), default="plain")
    parser.add_argument("--rounds", type=int, default=60, help="at most as many as there are points")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="kill after random times instead of at writes")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = rounds(asked.variant, asked.rounds, asked.seed, asked.random, lambda line: print(line, file=sys.stderr))
    return write_results({"what": "kills", **found}, asked.out)


if __name__ == "__main__":
    sys.exit(main())
