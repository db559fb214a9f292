"""How many images BatchNorm needs before allocations that calibration alone is to rank are ranked alike.

    python benchmarks/reestimation.py                                                          # digits, half a minute of one core
    python benchmarks/reestimation.py --tasks cifar --cifar DIR --weights resnet20.safetensors

Random allocations near the study's budget are scored on validation samples (at most 1,000) after calibration, with the statistics of the
BatchNorms re-estimated on ever more training images. The reference has 2,048, or all there are. Another draw of as many, with other
augmentation, says how well the reference agrees with itself.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from training_tasks import TASKS, Place, prepare

from mpsearch.allocate.random_allocations import random_allocations
from mpsearch.core.allocation import Allocation
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

MOST = 2048
IMAGES = (128, 256, 512, 1024)
VALIDATION = 1000
OTHER_DRAW = 7


def losses(problem: Problem, hyper: Hyperparameters, allocations: Sequence[Allocation], images: int) -> tuple[NDArray[np.float64], float]:
    """(Validation loss of each allocation, processor seconds of one)."""
    evaluator, recipe = Evaluator(problem, Compiler("off", problem.device)), replace(hyper.recipe, reestimate=images)
    began = time.process_time()
    found = [evaluator.ptq(evaluator.begin(allocation, hyper.method), hyper.method, recipe).loss for allocation in allocations]
    return np.array(found), (time.process_time() - began) / len(allocations)


def report(task: str, place: Place, count: int, seed: int) -> None:
    """Print the table of a task."""
    ground = prepare(TASKS[task], place, seed, quantized_inputs=False)
    problem, hyper = ground.setup.problem, search_settings(ground.config).default
    problem = replace(problem, validation=problem.validation.take(min(VALIDATION, len(problem.validation)), 0))
    allocations = random_allocations(problem.space, problem.costs, problem.budgets, count, seed)
    most = min(MOST, len(problem.train))
    reference, seconds = losses(problem, hyper, allocations, most)
    rows = [(f"{images:,}", *losses(problem, hyper, allocations, images)) for images in IMAGES if images < most]
    other = losses(replace(problem, seed=problem.seed + OTHER_DRAW), hyper, allocations, most)
    print(f"**{task}**, seed {seed}, {count} allocations within {', '.join(map(str, problem.budgets))}\n")
    print(f"| images | rank correlation with {most:,} | loss, of that with {most:,} | a trial's time, of that with {most:,} |")
    print("|---|---|---|---|")
    for name, found, taken in (*rows, (f"{most:,}, another draw", *other)):
        ratio = np.exp(np.log(found / reference).mean())
        print(f"| {name} | {spearmanr(found, reference).statistic:.3f} | {ratio:.3f} | {taken / seconds:.2f} |")


def main() -> None:
    """Print a table a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["digits"])
    parser.add_argument("--allocations", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cifar", type=Path, metavar="DIR", help="folder with train/<class> and test/<class>")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="float ResNet-20")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    places = {"digits": Place(), "cifar": Place(data=arguments.cifar, weights=arguments.weights)}
    for task in arguments.tasks:
        report(task, places[task], arguments.allocations, arguments.seed)


if __name__ == "__main__":
    main()
