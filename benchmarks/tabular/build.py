"""Build a table of every allocation: `python -m benchmarks.tabular.build NAME [--data SOURCE:DIR] [--weights FILE]`.

Interrupted or out of `--minutes`, the same command goes on where it stopped. What it writes is `benchmarks/tabular/NAME.npz`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tabular.measure import signal_tables
from benchmarks.tabular.tree import Tree
from benchmarks.tabular.truth import Picks, Truth, file_of
from mpsearch.config import StudyConfig, load_study
from mpsearch.core.progress import Silent
from mpsearch.data import cache_directory
from mpsearch.experiment import Experiment, build_experiment, search_settings

_DEPTH = 3
"""Groups that all leaves of a stored piece share."""


def study(name: str, data: str | None, weights: str | None) -> StudyConfig:
    """The study beside this file, with the data and weights at hand."""
    changes: dict[str, Any] = {}
    if data is not None:
        changes["data.path"] = data.partition(":")[2]
    if weights is not None:
        changes["model.weights"] = weights
    return load_study(Path(__file__).with_name(f"{name}.yaml"), changes)


def pieces(tree: Tree, file: Path, deadline: float) -> dict[Picks, tuple[list[float], list[float]]]:
    """Leaves by prefix: those stored in `file`, and as many more as there is time for, each stored as soon as it is known."""
    done = {tuple(piece["prefix"]): (piece["loss"], piece["error"]) for piece in _stored(file)}
    wanted = tree.prefixes(min(_DEPTH, len(tree.menus) - 1))
    began, before = time.monotonic(), len(done)
    with file.open("a") as stream:
        for prefix, losses, errors in tree.scores([prefix for prefix in wanted if prefix not in done]):
            done[prefix] = (losses, errors)
            stream.write(json.dumps({"prefix": prefix, "loss": losses, "error": errors}) + "\n")
            stream.flush()
            print(f"{len(done)}/{len(wanted)} pieces, {(time.monotonic() - began) / (len(done) - before):.1f} s each", flush=True)
            if time.monotonic() > deadline:
                break
    if len(done) < len(wanted):
        raise SystemExit(f"out of time with {len(done)} of {len(wanted)} pieces; the same command goes on")
    return {prefix: done[prefix] for prefix in wanted}


def _stored(file: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; a piece that a kill has cut is computed again."""
    if not file.exists():
        return
    text = file.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole)
    for line in whole.splitlines():
        yield json.loads(line)


def truth(experiment: Experiment, name: str, found: dict[Picks, tuple[list[float], list[float]]]) -> Truth:
    """The table with all that a search may know of it."""
    problem = experiment.problem
    menus = [problem.space.menus[group[0]] for group in problem.space.groups]
    shape = tuple(len(menu) for menu in menus)
    loss, error = (np.array([value for piece in found.values() for value in piece[part]]).reshape(shape) for part in (0, 1))
    return Truth(
        name=name,
        space=problem.space,
        loss=loss,
        error=error,
        size=problem.costs["size"],
        tables=signal_tables(problem, experiment.config.signals),
        notes={
            "network": experiment.config.model.factory,
            "data": experiment.config.data.source,
            "validation images": len(problem.validation),
            "images for BatchNorm": min(int(search_settings(experiment.config).default.recipe.reestimate), len(problem.train)),
            "float loss": _float_loss(experiment),
        },
    )


def _float_loss(experiment: Experiment) -> float:
    from mpsearch.training.evaluate import evaluate

    problem = experiment.problem
    return evaluate(problem.model, problem.validation, problem.task, device=problem.device).loss


def main() -> None:
    """Evaluate, measure the signals, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a study beside this file, without .yaml")
    parser.add_argument("--data", help="such as imagefolder:DIR")
    parser.add_argument("--weights", help="float weights")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the same command goes on")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    torch.set_num_threads(arguments.threads)
    config = study(arguments.name, arguments.data, arguments.weights)
    experiment = build_experiment(config, Silent())
    settings = search_settings(config)
    folder = cache_directory() / "tabular"
    folder.mkdir(parents=True, exist_ok=True)
    tree = Tree(experiment.problem, settings.default.method, settings.default.recipe)
    found = pieces(tree, folder / f"{arguments.name}-{config.fingerprint()}.jsonl", deadline)
    file = file_of(arguments.name)
    truth(experiment, arguments.name, found).save(file)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
