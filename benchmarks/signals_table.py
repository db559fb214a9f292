"""How well do the signals rank allocations? Predictions against losses measured after calibration and after short training.

    python benchmarks/signals_table.py digits --out docs/results/signals_digits.jsonl            # measures; goes on where it stopped
    python benchmarks/signals_table.py cifar --out signals_cifar.jsonl --data imagefolder:DIR --weights resnet20.safetensors
    python benchmarks/signals_table.py --table docs/results/signals_digits.jsonl                 # Markdown

Random allocations near each of two budgets, drawn without any signal. Each is calibrated, BatchNorm re-estimated, and scored on the
validation split (`--no-training` stops here); then trained shortly from the float weights and scored again. All signals the registry has,
computed once, at the first budget, unless told otherwise. `mix` is fitted to allocations of its own (`use: fit`), by their divergence
from the float network on training images, `mix, trained` by their loss after the short training, and judged, like the others, on those it
has never seen. Every measurement is a line of JSON
as soon as it is known. The test split is never read.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from signals_report import Line, markdown, read_lines

from mpsearch.allocate.random_allocations import random_allocations
from mpsearch.config import StudyConfig, load_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.json_data import json_data
from mpsearch.core.progress import Silent
from mpsearch.run import sensitivities
from mpsearch.run.sensitivity import by_dependence
from mpsearch.run.setup import Setup, build_setup
from mpsearch.signals import SIGNALS
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs

FIT_SEED = 1000
"""Added to the seeds of the allocations that `mix` is fitted to."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One network and two budgets.

    Args:
        study: whose space, method and recipe are taken.
        budgets: as a study states them.
        changes: to the study.
        epochs: of the short training.
        training_images: of it, a fixed subset; None for all.
        validation_images: that losses are measured on; None for all.
    """

    study: str
    budgets: tuple[str, str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    training_images: int | None = None
    validation_images: int | None = None


TASKS = {
    "digits": Task(study="digits_resnet18", budgets=("2MB", "3MB")),
    "digits_resnet14": Task(
        study="digits_resnet18",
        budgets=("2bit", "3bit"),
        changes={"model.factory": "resnet20_cifar", "model.options": {"depth": 14, "in_channels": 1}},
    ),
    "cifar": Task(study="cifar10_resnet20", budgets=("80KB", "110KB"), training_images=4000, validation_images=2000),
}


class Bench:
    """One task at one budget."""

    def __init__(self, name: str, budget: str, changes: Mapping[str, Any]) -> None:
        self.task, self.name, self.budget = TASKS[name], name, budget
        self._changes = {**TASKS[name].changes, **changes, "budgets": [budget]}

    @cached_property
    def config(self) -> StudyConfig:
        """The study."""
        return load_study(self.task.study, self._changes)

    @cached_property
    def setup(self) -> Setup:
        """Data, float network, space."""
        return build_setup(self.config, Silent())

    @cached_property
    def evaluator(self) -> Evaluator:
        """Calibrates, trains and scores."""
        return Evaluator(self.setup.problem, Compiler("off", self.setup.problem.device, 0))

    def label(self, **more: Any) -> Line:
        """A line of the file."""
        return {"task": self.name, "budget": self.budget, **more}

    def signals(self, names: list[str]) -> Iterator[Line]:
        """Their tables, one after the other."""
        for name in names:
            _, (table,) = sensitivities(load_study(self.task.study, {**self._changes, "signals.names": [name]}))
            yield self.label(kind="signal", name=name, table=json_data(table))

    def draw(self, count: int, seed: int) -> list[Allocation]:
        """Allocations near the budget."""
        problem = self.setup.problem
        return random_allocations(problem.space, problem.costs, problem.budgets, count, seed)

    def calibrated(self, allocation: Allocation) -> Line:
        """Loss on validation, divergence on the signals' training images, after calibration."""
        problem, default, images = self.setup.problem, search_settings(self.config).default, self.config.signals
        began = time.monotonic()
        network = self.evaluator.begin(allocation, default.method)
        self.evaluator.calibrate(network, default.method, default.recipe)
        divergence, seconds = self.evaluator.divergence(network, images.images), time.monotonic() - began
        score = self.evaluator.score(network, self._validation)
        passes = (min(default.recipe.reestimate, len(problem.train)) + images.images) / images.images
        return {"divergence": divergence, "loss": score.loss, "error": score.error, "seconds": round(seconds, 2), "forwards": passes}

    def trained(self, allocation: Allocation, seed: int) -> Line:
        """Loss on validation after the short training."""
        problem, default, task = self.setup.problem, search_settings(self.config).default, self.task
        began = time.monotonic()
        network = self.evaluator.begin(allocation, default.method)
        split = problem.train if task.training_images is None else problem.train.take(task.training_images, problem.seed)
        self.evaluator.train(network, default.method, with_epochs(default.recipe, task.epochs), seed=seed, split=split)
        score = self.evaluator.score(network, self._validation)
        return {"loss": score.loss, "error": score.error, "seconds": round(time.monotonic() - began, 2)}

    @cached_property
    def _validation(self) -> Any:
        split, images = self.setup.problem.validation, self.task.validation_images
        return split if images is None else split.take(images, self.setup.problem.seed)


def measure(benches: list[Bench], arguments: argparse.Namespace, held: list[Line]) -> Iterator[Line]:
    """What is not held yet, one budget in turn with the other, so that a part of it is of use already."""
    known = {(line["budget"] if arguments.per_budget else "", line["name"]) for line in held if line["kind"] == "signal"}
    done = {(line["kind"], line["budget"], line["use"], line["seed"], line["index"]) for line in held if line["kind"] != "signal"}
    plain, _ = by_dependence(SIGNALS.names())
    for bench in benches if arguments.per_budget else benches[:1]:
        yield from bench.signals([name for name in plain if (bench.budget if arguments.per_budget else "", name) not in known])
    seeds = list(range(arguments.seeds))
    uses = [("judge", seed, arguments.allocations // len(seeds)) for seed in seeds]
    uses += [("fit", FIT_SEED + seed, arguments.fit) for seed in range(arguments.fits)]
    drawn = {(b.budget, use, seed): b.draw(count, seed) for b in benches for use, seed, count in uses}
    for kind in ("calibrated", "trained")[: 1 if arguments.no_training else 2]:
        for index in range(max(count for _, _, count in uses)):
            for bench in benches:
                for use, seed, count in uses:
                    if index >= count or (kind, bench.budget, use, seed, index) in done:
                        continue
                    allocation = drawn[bench.budget, use, seed][index]
                    line = bench.label(kind=kind, use=use, seed=seed, index=index, bits=[str(c) for c in allocation.values()])
                    yield {**line, **(bench.calibrated(allocation) if kind == "calibrated" else bench.trained(allocation, 1 + index))}


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=TASKS)
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of what FILE holds, and measure nothing")
    parser.add_argument("--allocations", type=int, default=40, help="near each budget, all seeds together")
    parser.add_argument("--seeds", type=int, default=2, help="draws of allocations")
    parser.add_argument("--fit", type=int, default=24, help="allocations near each budget that mix is fitted to")
    parser.add_argument("--fits", type=int, default=1, help="how many such sets; mix is fitted to each, and the mean is told")
    parser.add_argument("--budget", help="one of the task's budgets instead of both")
    parser.add_argument("--per-budget", action="store_true", help="compute the signals anew at each budget, which those that train look at")
    parser.add_argument("--no-training", action="store_true", help="calibration only")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time; run again to go on")
    parser.add_argument("--data", help="as in mpsearch study")
    parser.add_argument("--weights", help="as in mpsearch study")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(markdown(read_lines(arguments.table)))
        return
    if arguments.task is None or arguments.out is None:
        parser.error("name a task and --out FILE, or --table FILE")
    changes: dict[str, Any] = {} if arguments.weights is None else {"model.weights": arguments.weights}
    if arguments.data is not None:
        changes["data.source"], _, changes["data.path"] = arguments.data.partition(":")
    budgets = TASKS[arguments.task].budgets if arguments.budget is None else (arguments.budget,)
    benches = [Bench(arguments.task, budget, changes) for budget in budgets]
    held = [line for line in read_lines(arguments.out) if line["task"] == arguments.task]
    began = time.monotonic()
    with arguments.out.open("a") as file:
        for line in measure(benches, arguments, held):
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            print({key: value for key, value in line.items() if key not in ("table", "bits")}, flush=True)
            if time.monotonic() - began > 60 * arguments.minutes:
                print("time is up; the same command goes on")
                return


if __name__ == "__main__":
    main()
