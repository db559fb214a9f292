"""Bits that four methods learn, bits solved from `fisher` and uniform bits: at equal file size, retrained alike.

    python benchmarks/learned_bits.py --out learned.jsonl [--tasks digits cifar --cifar DIR --weights resnet20.safetensors]
    python benchmarks/learned_bits.py --table learned.jsonl [--write docs/methods.md]

Size: the file of the uniform allocation, all layers at 2 bits (or `--bits`), as `lsq` writes it. Every layer may have 1 to 8 bits.
`bsq`, `cpq` with DropBits, `learned_range` and `alq` learn bits from twice as many everywhere (see `bit_learning.py`), by short runs of as
many epochs as the retraining has. What they found is brought to the size exactly: the allocation with the least `Σ N_l 4^(learned_l − b_l)`
that fits (a bit quarters the squared error), by the same solver as the MILP. All are then retrained by `lsq` from the
float network and scored once on the test split; `training_tasks.py` states data and recipe. Lines of the file are finished stages, which
another run goes on from.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bit_learning import LEARNERS, learn_bits
from learned_markdown import compare
from methods_markdown import write_between_markers
from results_file import Row, append, latest, read
from training_tasks import TASKS, Ground, Place, prepare, signal_inputs, train_alike

from mpsearch.allocate.solve import solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.table import Table
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.methods import METHODS
from mpsearch.signals import compute_signal
from mpsearch.trials.problem import Problem

ORIGINS = ("uniform", "fisher", *LEARNERS)
RETRAINED_BY = "lsq"
KEY = ("task", "seed", "bits", "origin", "epochs", "stage")
LOWEST_MEAN = 2.3
"""What methods that keep two bits a layer can be asked for; a smaller size is reached from there."""


def brought_to(problem: Problem, learned: Mapping[str, float], budget: Budget) -> Allocation:
    """The allocation within the budget that minimises `Σ N_l 4^(learned_l − b_l)`."""
    space = problem.space
    values = [[layer.weights * 4.0 ** (learned[layer.name] - choice.weight.bits) for choice in space.choices] for layer in space.layers]
    error = Table(name="error", unit="squared steps", layers=space.names, choices=space.choices, values=np.array(values))
    return solve(space, error, {"size": _sizes(problem)}, [budget]).allocation


def fisher(ground: Ground, budget: Budget) -> Allocation:
    """The MILP's answer to the signal `fisher`."""
    problem, config = ground.setup.problem, ground.config
    table = compute_signal("fisher", signal_inputs(problem, config))
    return solve(problem.space, table, {"size": _sizes(problem)}, [budget]).allocation


def _sizes(problem: Problem) -> Table:
    return size(CostInputs(space=problem.space, formats=(METHODS[RETRAINED_BY]().stores,)))


def find(ground: Ground, origin: str, bits: int, epochs: int) -> dict[str, Any]:
    """An origin's allocation within the size of uniform bits, and how it came about."""
    problem = ground.setup.problem
    uniform = problem.space.uniform(Choice(bits))
    limit = _sizes(problem).total(uniform)
    budget = Budget("size", limit, f"{limit:.0f}B")
    began = time.monotonic()
    how: dict[str, Any] = {}
    if origin == "uniform":
        allocation = uniform
    elif origin == "fisher":
        allocation = fisher(ground, budget)
    else:
        target = max(float(bits), LOWEST_MEAN)
        learned = learn_bits(problem, ground.config, origin, target=target, start=min(2 * bits, 8), epochs=epochs)
        allocation = brought_to(problem, learned.bits, budget)
        how = {"learned": asdict(learned)}
    return {"allocation": allocation.to_dict(), "budget": limit, "search_seconds": time.monotonic() - began, **how}


def run(arguments: argparse.Namespace) -> None:
    """Find and retrain what is missing, seed by seed, until the time is up."""
    began = time.monotonic()
    place = {"digits": Place(), "cifar": Place(data=arguments.cifar, weights=arguments.weights)}
    seeds = {name: TASKS[name].seeds if arguments.seeds is None else arguments.seeds for name in arguments.tasks}
    wanted = [
        {"task": name, "seed": seed, "bits": bits, "origin": origin, "epochs": TASKS[name].epochs}
        for seed in range(max(seeds.values()))
        for bits in arguments.bits
        for name in arguments.tasks
        if seed < seeds[name]
        for origin in arguments.origins
    ]
    for cell in wanted:
        for stage in ("find", "train"):
            rows = _of(read(arguments.out), cell)
            if stage in rows or (stage == "train" and rows["find"]["status"] == "failed"):
                continue
            if (time.monotonic() - began) / 60 > arguments.time_limit:
                print("the time is up; run the same command again")
                return
            row = cell | {"stage": stage, "threads": torch.get_num_threads()} | _attempt(cell, stage, rows, place[cell["task"]])
            append(arguments.out, row)
            told = row.get("reason") or (f"{100 * row['metric']:.2f}" if stage == "train" else f"{row['search_seconds']:.0f} s")
            print(f"{cell['task']} {cell['origin']} {cell['bits']} bits seed {cell['seed']} {stage}: {told}", flush=True)


def _attempt(cell: Row, stage: str, rows: Mapping[str, Row], place: Place) -> dict[str, Any]:
    try:
        ground = prepare(TASKS[cell["task"]], place, cell["seed"], quantized_inputs=False)
        if stage == "find":
            return find(ground, cell["origin"], cell["bits"], cell["epochs"]) | {"status": "done"}
        allocation = Allocation.from_dict(rows["find"]["allocation"])
        trained = train_alike(ground, allocation, METHODS[RETRAINED_BY](), epochs=cell["epochs"])
        return trained | {"float": ground.float_metric, "status": "done"}
    except Exception as error:  # one row must not take the table with it
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _of(rows: Sequence[Row], cell: Row) -> dict[str, Row]:
    """The cell's stages that are there."""
    return {row["stage"]: row for row in rows if all(row[key] == value for key, value in cell.items())}


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of results: a JSON object a line, added to")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["digits"])
    parser.add_argument("--origins", nargs="+", choices=ORIGINS, default=list(ORIGINS), metavar="NAME", help=", ".join(ORIGINS))
    parser.add_argument("--bits", nargs="+", type=int, default=[2], help="of the uniform allocations whose sizes are the budgets")
    parser.add_argument("--seeds", type=int, help="digits 3, cifar 1, if not given")
    parser.add_argument("--cifar", type=Path, metavar="DIR", help="folder with train/<class> and test/<class>")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="float ResNet-20")
    parser.add_argument("--time-limit", type=float, default=float("inf"), metavar="MIN", help="begin nothing after so many minutes")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print the table of files of results, as Markdown")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="with --table: put it between the markers of a page")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if arguments.table:
        text = compare(latest((row for file in arguments.table for row in read(file)), KEY))
        if arguments.write:
            write_between_markers(arguments.write, "learned bits", text)
        else:
            print(text)
    elif arguments.out is None:
        parser.error("say where the results go: --out FILE")
    elif "cifar" in arguments.tasks and (arguments.cifar is None or arguments.weights is None):
        parser.error("cifar needs --cifar DIR and --weights FILE; without them say --tasks digits")
    else:
        run(arguments)


if __name__ == "__main__":
    main()
