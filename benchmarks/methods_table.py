"""Every method at the same bits with the same effort: test accuracy after short training, on two tasks.

    python benchmarks/methods_table.py --out methods.jsonl --cifar DIR --weights resnet20.safetensors
    python benchmarks/methods_table.py --table methods.jsonl
    python benchmarks/methods_table.py --table methods.jsonl --write docs/methods.md

A cell is (task, method, weight bits, activation bits, seed); `training_tasks.py` states tasks, effort and what first and last layer have.
Finished cells are lines of the file, which another run goes on from; a cell that fails is a line with its reason. Cells of seed 0 come
first, two bits before one, four and three, so that a run cut short is of use. On `cifar` a second seed is trained where the first is less
than half a point from `ste`'s.

`brecq` and `gptq` are left out: they train as `lsq`, and `benchmarks/peers` compares what they are before training.
`lapq` is a method of calibration: it and `ste`, which has the usual one, are scored before training as well. With `digits` it has 60
evaluations of the loss, not 300, which would take three minutes a cell. `SECONDS` holds what a cell takes on one thread; `--dry-run` adds
them up.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from methods_markdown import compare, write_between_markers
from results_file import Row, append, known, latest, read
from training_tasks import TASKS, Place, ends_at_eight, prepare, train_alike

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods import METHODS

SECONDS = {
    "digits": {
        "alq": 28,
        "bcgd": 13,
        "bsq": 65,
        "cpq": 20,
        "lapq": 50,
        "learned_range": 15,
        "lsq": 10,
        "mirror_descent": 18,
        "pdq": 15,
        "ste": 12,
    },
    "cifar": {"lapq": 540, "pdq": 220, "alq": 200, "cpq": 180, "bsq": 180},
}
FIRST = ("ste", "lsq")
ELSEWHERE = ("brecq", "gptq")
"""Calibrations that train as `lsq`: compared in `benchmarks/peers`."""
CLOSE = 0.005
SETTINGS: Mapping[tuple[str, str], Mapping[str, Any]] = {("digits", "lapq"): {"evaluations": 60}}
KEY = ("task", "method", "weight_bits", "act_bits", "seed", "epochs")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training."""

    task: str
    method: str
    weight_bits: int
    act_bits: int
    seed: int
    epochs: int

    def __str__(self) -> str:
        act = "f" if self.act_bits == FLOAT_BITS else self.act_bits
        return f"{self.task} {self.method} w{self.weight_bits}a{act} seed {self.seed}"

    @property
    def seconds(self) -> float:
        """About what it takes."""
        return SECONDS[self.task].get(self.method, 150.0)


def cells(tasks: Sequence[str], methods: Sequence[str], seeds: int | None, rows: Sequence[Row]) -> list[Cell]:
    """Seed by seed, and within a seed the columns of all tasks in turn."""
    found: list[tuple[tuple[int, int, int], Cell]] = []
    for name in tasks:
        task = TASKS[name]
        columns = [(weight, act) for act in task.act_bits for weight in task.bits]
        for seed in range(task.seeds if seeds is None else seeds):
            for rank, (weight, act) in enumerate(columns):
                for method in methods:
                    cell = Cell(task=name, method=method, weight_bits=weight, act_bits=act, seed=seed, epochs=task.epochs)
                    found.append(((seed, rank, tasks.index(name)), cell))
        if seeds is None and task.seeds == 1:
            found += [((1, 0, tasks.index(name)), cell) for cell in close_cells(name, methods, rows)]
    return [cell for _, cell in sorted(found, key=lambda pair: pair[0])]


def close_cells(task: str, methods: Sequence[str], rows: Sequence[Row]) -> Iterator[Cell]:
    """Second seeds of methods that are nearer to `ste` than one seed can tell, and of `ste` beside them."""
    for weight in TASKS[task].bits:
        for act in TASKS[task].act_bits:
            firsts = {
                row["method"]: row["metric"]
                for row in rows
                if row["status"] == "done" and (row["task"], row["weight_bits"], row["act_bits"], row["seed"]) == (task, weight, act, 0)
            }
            reference = firsts.get("ste")
            near = [m for m in methods if reference is not None and m != "ste" and m in firsts and abs(firsts[m] - reference) < CLOSE]
            for method in ["ste", *near] if near else []:
                yield Cell(task=task, method=method, weight_bits=weight, act_bits=act, seed=1, epochs=TASKS[task].epochs)


def measure(cell: Cell, place: Place) -> Row:
    """Train the cell; what fails is told, not raised."""
    row: Row = asdict(cell) | {"threads": torch.get_num_threads(), "settings": dict(SETTINGS.get((cell.task, cell.method), {}))}
    try:
        ground = prepare(TASKS[cell.task], place, cell.seed, quantized_inputs=cell.act_bits != FLOAT_BITS)
        method = METHODS[cell.method](**row["settings"])
        allocation = ends_at_eight(ground.setup.problem, cell.weight_bits, cell.act_bits)
        untrained = cell.method == "ste" or METHODS[cell.method].calibrate is not METHODS["ste"].calibrate
        found = train_alike(ground, allocation, method, epochs=cell.epochs, calibrated=untrained)
        return row | found | {"float": ground.float_metric, "status": "done"}
    except Exception as error:  # one cell must not take the table with it
        return row | {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def run(arguments: argparse.Namespace, methods: Sequence[str]) -> None:
    """Measure what is missing, until the time is up."""
    place = {"digits": Place(), "cifar": Place(data=arguments.cifar, weights=arguments.weights)}
    began = time.monotonic()
    while True:
        rows = read(arguments.out)
        held = known(rows if not arguments.retry_failed else [row for row in rows if row["status"] == "done"], KEY)
        left = [c for c in cells(arguments.tasks, methods, arguments.seeds, rows) if tuple(asdict(c)[field] for field in KEY) not in held]
        if not left:
            print("all cells are there")
            return
        spent = (time.monotonic() - began) / 60
        if spent + left[0].seconds / 60 > arguments.time_limit:
            print(f"{len(left)} cells are left after {spent:.0f} minutes; run the same command again")
            return
        row = measure(left[0], place[left[0].task])
        append(arguments.out, row)
        outcome = f"{100 * row['metric']:.2f} in {row['seconds']:.0f} s" if row["status"] == "done" else row["reason"]
        print(f"{left[0]}: {outcome}; {len(left) - 1} left", flush=True)


def dry_run(arguments: argparse.Namespace, methods: Sequence[str]) -> None:
    """The cells that are missing, and about how long they take."""
    rows = read(arguments.out) if arguments.out else []
    held = known(rows, KEY)
    left = [c for c in cells(arguments.tasks, methods, arguments.seeds, rows) if tuple(asdict(c)[field] for field in KEY) not in held]
    for cell in left:
        print(f"{cell}: about {cell.seconds:.0f} s")
    for name in arguments.tasks:
        mine = [cell.seconds for cell in left if cell.task == name]
        print(f"{name}: {len(mine)} cells, about {sum(mine) / 60:.0f} minutes of one thread")


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of results: a JSON object a line, added to")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="of `mpsearch list methods`; all but brecq and gptq if not given")
    parser.add_argument("--seeds", type=int, help="seeds of every cell; digits 3, cifar 1 and where it is close 2, if not given")
    parser.add_argument("--cifar", type=Path, metavar="DIR", help="folder with train/<class> and test/<class>")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="float ResNet-20")
    parser.add_argument("--time-limit", type=float, default=float("inf"), metavar="MIN", help="begin no cell that would end later")
    parser.add_argument("--retry-failed", action="store_true", help="train cells again that failed")
    parser.add_argument("--dry-run", action="store_true", help="list the cells and the time they take")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print the tables of files of results, as Markdown")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="with --table: put them between the markers of a page")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    names = [name for name in METHODS.names() if name not in ELSEWHERE]
    methods = arguments.methods or sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    for name in methods:
        METHODS[name]
    if arguments.table:
        text = compare(latest((row for file in arguments.table for row in read(file)), KEY))
        if arguments.write:
            write_between_markers(arguments.write, "methods", text)
        else:
            print(text)
    elif arguments.dry_run:
        dry_run(arguments, methods)
    elif arguments.out is None:
        parser.error("say where the results go: --out FILE")
    elif "cifar" in arguments.tasks and (arguments.cifar is None or arguments.weights is None):
        parser.error("cifar needs --cifar DIR and --weights FILE; without them say --tasks digits")
    else:
        run(arguments, methods)


if __name__ == "__main__":
    main()
