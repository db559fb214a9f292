"""Build a table of every allocation: `python -m benchmarks.tabular.build NAME [--data SOURCE:DIR] [--weights FILE]`.

Scored without training, by a supernet (`--weights-from supernet`, trained first) or after an epoch of its own for each (`--weights-from
trained`). Interrupted or out of `--minutes`, the same command goes on where it stopped. What it writes is `benchmarks/tabular/NAME.npz`,
`NAME-supernet.npz` or `NAME-trained.npz`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tabular.measure import signal_tables
from benchmarks.tabular.trained import Trained
from benchmarks.tabular.tree import Tree
from benchmarks.tabular.truth import Picks, Truth, file_of
from mpsearch.config import StudyConfig, load_study
from mpsearch.core.progress import Silent
from mpsearch.data import cache_directory
from mpsearch.run.ledger import Ledger
from mpsearch.run.pipeline import build_evaluator
from mpsearch.run.setup import build_setup
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

_DEPTH = 3
"""Groups that all leaves of a stored piece share."""


def study(name: str, data: str | None, weights: str | None, weights_from: str = "float") -> StudyConfig:
    """The study beside this file, with the data and weights at hand."""
    changes: dict[str, Any] = {"search.evaluate": "supernet" if weights_from == "supernet" else "ptq"}
    if data is not None:
        changes["data.path"] = data.partition(":")[2]
    if weights is not None:
        changes["model.weights"] = weights
    return load_study(Path(__file__).with_name(f"{name}.yaml"), changes)


def pieces(tree: Tree | Trained, file: Path, deadline: float) -> dict[Picks, tuple[list[float], list[float]]]:
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


def tree_of(config: StudyConfig, problem: Problem, weights_from: str, folder: Path) -> Tree | Trained:
    """Of the float weights, of weights trained from them one by one, or of shared ones, which are trained or read first."""
    default = search_settings(config).default
    if weights_from == "trained":
        return Trained(problem, default.method, default.recipe)
    evaluator = build_evaluator(config, problem, Compiler("off", problem.device, 0), Ledger(folder), Silent())
    if isinstance(evaluator, SupernetEvaluator):
        return Tree.shared(problem, evaluator.prepare())
    return Tree.untrained(problem, default.method, default.recipe)


def truth(
    config: StudyConfig, problem: Problem, name: str, found: dict[Picks, tuple[list[float], list[float]]], images: int, folder: Path
) -> Truth:
    """The table with all that a search may know of it."""
    menus = [problem.space.menus[group[0]] for group in problem.space.groups]
    shape = tuple(len(menu) for menu in menus)
    loss, error = (np.array([value for piece in found.values() for value in piece[part]]).reshape(shape) for part in (0, 1))
    return Truth(
        name=name,
        space=problem.space,
        loss=loss,
        error=error,
        size=problem.costs["size"].rows[0],
        tables=signal_tables(problem, config.signals, folder / "signals.json"),
        notes={
            "network": config.model.factory,
            "data": config.data.source,
            "validation images": len(problem.validation),
            "images for BatchNorm": images,
            "float loss": evaluate(problem.model, problem.validation, problem.task, device=problem.device).loss,
        },
    )


def main() -> None:
    """Evaluate, measure the signals, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a study beside this file, without .yaml")
    parser.add_argument("--data", help="such as imagefolder:DIR")
    parser.add_argument("--weights", help="float weights")
    parser.add_argument("--weights-from", choices=("float", "supernet", "trained"), default="float", help="what is scored")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the same command goes on")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    torch.set_num_threads(arguments.threads)
    config = study(arguments.name, arguments.data, arguments.weights, arguments.weights_from)
    problem = build_setup(config, Silent()).problem
    name = arguments.name + ("" if arguments.weights_from == "float" else f"-{arguments.weights_from}")
    folder = cache_directory() / "tabular" / f"{name}-{config.fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    tree = tree_of(config, problem, arguments.weights_from, folder)
    found = pieces(tree, folder / "pieces.jsonl", deadline)
    whole = truth(config, problem, name, found, tree.images, folder)
    if isinstance(tree, Trained):
        whole = replace(whole, notes={**whole.notes, "agreement of two trainings": tree.agreement(whole)})
    whole.save(file_of(name))
    print(json.dumps(whole.notes))
    print(f"{file_of(name).name}: {file_of(name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
